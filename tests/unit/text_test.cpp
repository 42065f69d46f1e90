// SPDX-License-Identifier: Apache-2.0
// Foreign text made harmless. (escaped(), which is for short quotes, is in core_test.cpp.)
#include "core/text.h"

#include <gtest/gtest.h>

#include <string_view>

namespace ds01 {
namespace {

using namespace std::string_view_literals;

struct Text {
  std::string_view in;
  std::string_view out;
};

TEST(Printable, TextGoodStaysAsItIs) {
  for (const auto text : {""sv, "alice"sv, "größe"sv, "日本"sv, "🙂"sv, "\xf4\x8f\xbf\xbf"sv, "\\x41"sv, "\"q\""sv})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, BytesHostileAreEscaped) {
  const Text table[] = {
      {"a\nb", "a\\x0ab"},
      {"\x1b[2J", "\\x1b[2J"},
      {"a\0b"sv, "a\\x00b"},
      {"\x7f", "\\x7f"},
      {"\xc2\x9b"
       "31m",
       "\\xc2\\x9b31m"},  // CSI as one C1 character
      {"\xc2\x80", "\\xc2\\x80"},
      {"\xc2\xa0", "\xc2\xa0"},  // the first one behind C1
      {"\xff\xfe", "\\xff\\xfe"},
      {"\x80", "\\x80"},  // continues nothing
      {"\xc3", "\\xc3"},  // cut short
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xf0\x9f\x99", "\\xf0\\x9f\\x99"},
      {"\xc3(", "\\xc3("},         // cut short by a letter, which stays
      {"\xc0\xaf", "\\xc0\\xaf"},  // overlong
      {"\xc1\xbf", "\\xc1\\xbf"},
      {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
      {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // above U+10FFFF
      {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
      {"ok\xff\xc3\xb6", "ok\\xff\xc3\xb6"},
  };
  for (const auto& [in, out] : table) EXPECT_EQ(printable(in), out);
}

// They turn the order in which a line is shown, so that it says something else than what it holds.
TEST(Printable, DirectionMarksAreEscaped) {
  const Text table[] = {
      {"a\u200eb", "a\\xe2\\x80\\x8eb"},
      {"a\u200fb", "a\\xe2\\x80\\x8fb"},
      {"\u202a", "\\xe2\\x80\\xaa"},
      {"\u202e", "\\xe2\\x80\\xae"},
      {"\u2066", "\\xe2\\x81\\xa6"},
      {"\u2069", "\\xe2\\x81\\xa9"},
      {"\u061c", "\\xd8\\x9c"},
      {"\u200d", "\u200d"},
      {"\u2010", "\u2010"},
      {"\u2029", "\\xe2\\x80\\xa9"},
      {"\u202f", "\u202f"},
      {"\u2065", "\u2065"},
      {"\u206a", "\u206a"},
  };
  for (const auto& [in, out] : table) EXPECT_EQ(printable(in), out);
}

TEST(Printable, EveryByteAloneIsHarmless) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto out = printable({&c, 1});
    EXPECT_EQ(out.size() == 1, byte >= 0x20 && byte < 0x7f) << byte;
  }
}

}  // namespace
}  // namespace ds01
