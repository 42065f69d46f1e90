// SPDX-License-Identifier: Apache-2.0
// Requests that must never reach a handler, sent to a real server.
#include <ostream>

#include "http_fixture.h"

namespace ds01::http {
namespace {

struct Hostile {
  const char* name;
  std::string bytes;
  std::string_view status;
  std::string_view code;
};
void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

std::string get(std::string_view target) { return fmt::format("GET {} HTTP/1.1\r\n\r\n", target); }
std::string repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}
const std::string kChunked = "Transfer-Encoding: chunked";

class ServerRefuses : public ServerFixture, public ::testing::WithParamInterface<Hostile> {};

TEST_P(ServerRefuses, RequestHostileRefusedAndClosed) {
  limits_.header_bytes = 1024;
  limits_.body_bytes = 2048;
  start();
  Client client(path_);
  client.send(GetParam().bytes);
  expect_refused(client, GetParam().status, GetParam().code);
  EXPECT_EQ(handled_, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Http, ServerRefuses,
    ::testing::Values(
        Hostile{"BodyAnnouncedTooLarge", post("Content-Length: 2049"), "413", "too_large"},
        Hostile{"BodyAnnouncedHuge", post("Content-Length: 18446744073709551615"), "413", "too_large"},
        Hostile{"BodyOverflowing", post("Content-Length: 18446744073709551616"), "400", "invalid"},
        Hostile{"ChunksTooLarge", post(kChunked, repeat("200\r\n" + std::string(512, 'x') + "\r\n", 5)), "413",
                "too_large"},
        Hostile{"ChunksTiny", post(kChunked, repeat("1\r\nx\r\n", 500)), "431", "too_large"},
        Hostile{"ChunkExtensionEndless", post(kChunked, "1;" + std::string(3000, 'x')), "431", "too_large"},
        Hostile{"TrailersEndless", post(kChunked, "0\r\n" + repeat("a: b\r\n", 300)), "431", "too_large"},
        Hostile{"ChunkSizeBad", post(kChunked, "zz\r\n"), "400", "invalid"},
        Hostile{"HeaderTooLarge", post(repeat("a: b\r\n", 300)), "431", "too_large"},
        Hostile{"HeaderEndless", "GET / HTTP/1.1\r\na: " + std::string(1100, 'x'), "431", "too_large"},
        Hostile{"TargetTooLong", get("/" + std::string(1100, 'x')), "431", "too_large"},
        Hostile{"TargetAndHeaderTooLarge", fmt::format("GET /{0} HTTP/1.1\r\na: {0}\r\n\r\n", std::string(600, 'x')),
                "431", "too_large"},
        Hostile{"LengthAndChunked", post("Content-Length: 3\r\n" + kChunked, "0\r\n\r\n"), "400", "invalid"},
        Hostile{"ChunkedAndLength", post(kChunked + "\r\nContent-Length: 3", "0\r\n\r\n"), "400", "invalid"},
        Hostile{"LengthRepeated", post("Content-Length: 3\r\nContent-Length: 3", "abc"), "400", "invalid"},
        Hostile{"LengthListed", post("Content-Length: 3, 3", "abc"), "400", "invalid"},
        Hostile{"LengthSigned", post("Content-Length: +3", "abc"), "400", "invalid"},
        Hostile{"EncodingGzip", post("Transfer-Encoding: gzip"), "400", "invalid"},
        Hostile{"EncodingGzipChunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), "400", "invalid"},
        Hostile{"EncodingRepeated", post(kChunked + "\r\n" + kChunked, "0\r\n\r\n"), "400", "invalid"},
        Hostile{"EncodingOldVersion", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
                "invalid"},
        Hostile{"BodyOnGet", "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "400", "invalid"},
        Hostile{"ChunksOnDelete", "DELETE / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "invalid"},
        Hostile{"Upgrade", "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "400", "invalid"},
        Hostile{"ExpectContinueTooLarge", post("Expect: 100-continue\r\nContent-Length: 2049"), "413", "too_large"},
        Hostile{"ExpectOther", post("Expect: miracle\r\nContent-Length: 3"), "417", "invalid"},
        Hostile{"VersionTwo", "GET / HTTP/2.0\r\n\r\n", "505", "invalid"},
        Hostile{"VersionOneTwo", "GET / HTTP/1.2\r\n\r\n", "505", "invalid"},
        Hostile{"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "invalid"},
        Hostile{"TargetAbsolute", get("http://host/"), "400", "invalid"},
        Hostile{"TargetAsterisk", "OPTIONS * HTTP/1.1\r\n\r\n", "400", "invalid"},
        Hostile{"TargetFragment", get("/a#b"), "400", "invalid"},
        Hostile{"TargetRawByte", get("/\xc3\xa9"), "400", "invalid"},
        Hostile{"PathDotDot", get("/a/../b"), "400", "invalid"},
        Hostile{"PathDotDotEncoded", get("/a/%2e%2E"), "400", "invalid"},
        Hostile{"PathDotDotSlashEncoded", get("/a%2f..%2fb"), "400", "invalid"},
        Hostile{"PathDot", get("/a/."), "400", "invalid"}, Hostile{"PathEmptySegment", get("/a//b"), "400", "invalid"},
        Hostile{"PathNul", get("/a%00"), "400", "invalid"}, Hostile{"PathNewline", get("/a%0Ab"), "400", "invalid"},
        Hostile{"PathDelete", get("/a%7f"), "400", "invalid"},
        Hostile{"PathEncodingShort", get("/a%4"), "400", "invalid"},
        Hostile{"PathEncodingBad", get("/a%g0"), "400", "invalid"},
        Hostile{"PathNotUtf8", get("/%c3%28"), "400", "invalid"},
        Hostile{"PathOverlongUtf8", get("/%c0%ae"), "400", "invalid"},
        Hostile{"FieldWithoutColon", "GET / HTTP/1.1\r\nabc\r\n\r\n", "400", "invalid"},
        Hostile{"FieldSpaceBeforeColon", "GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\n", "400", "invalid"},
        Hostile{"LineFeedsOnly", "GET / HTTP/1.1\n\n", "505", "invalid"},
        Hostile{"Nul", std::string("\0\0\0\0\r\n\r\n", 8), "400", "invalid"},
        Hostile{"Tls", "\x16\x03\x01\x02\r\n\r\n", "400", "invalid"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace ds01::http
