// SPDX-License-Identifier: Apache-2.0
// The notifier with real ptys of this process and a utmp file of its own.
#include "notify/notifier.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "core/files.h"
#include "fakes.h"
#include "notify/terminals.h"

namespace ds01::notify {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A terminal of the user who runs the test.
class Terminal {
 public:
  Terminal() {
    EXPECT_TRUE(master_);
    EXPECT_EQ(::grantpt(master_.get()), 0);
    EXPECT_EQ(::unlockpt(master_.get()), 0);
    path_ = ::ptsname(master_.get());
    slave_.reset(::open(path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    EXPECT_TRUE(slave_) << path_;
    termios settings{};
    ::tcgetattr(slave_.get(), &settings);
    ::cfmakeraw(&settings);  // what is written is what arrives
    ::tcsetattr(slave_.get(), TCSANOW, &settings);
    allow(0620);
  }

  std::string name() const { return path_.substr(std::strlen("/dev/")); }
  void allow(mode_t mode) const { ASSERT_EQ(::fchmod(slave_.get(), mode), 0); }

  // As Ctrl-S and Ctrl-Q do: while stopped, it takes nothing.
  void stop() const { EXPECT_EQ(::tcflow(slave_.get(), TCOOFF), 0); }
  void go_on() const { EXPECT_EQ(::tcflow(slave_.get(), TCOON), 0); }
  std::string read(std::size_t count) const {
    std::string text(count, '\0');
    for (std::size_t at = 0; at < count;) {
      pollfd readable{master_.get(), POLLIN, 0};
      ::poll(&readable, 1, -1);
      const auto n = ::read(master_.get(), text.data() + at, count - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    return text;
  }
  // All that was written to it, known to be all by what is written after.
  std::string received() const {
    constexpr char kEnd = '\x04';
    EXPECT_EQ(::write(slave_.get(), &kEnd, 1), 1);
    std::string text;
    for (std::string next; (next = read(1)) != std::string(1, kEnd);) text += next;
    return text;
  }

 private:
  Fd master_{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  Fd slave_;
  std::string path_;
};

std::string utmp_line(std::string_view terminal, short type = USER_PROCESS) {
  struct utmp record{};
  record.ut_type = type;
  std::memcpy(record.ut_line, terminal.data(), std::min(terminal.size(), sizeof record.ut_line));
  std::strcpy(record.ut_user, "root");  // nobody may rely on it
  std::string text(sizeof record, '\0');
  std::memcpy(text.data(), &record, sizeof record);
  return text;
}

class NotifierTest : public ::testing::Test {
 protected:
  void logins(const std::vector<std::string>& terminals) {
    std::string text;
    for (const auto& terminal : terminals) text += utmp_line(terminal);
    folder_.write("utmp", text);
  }
  // How it went, or what went wrong.
  Delivery tell(const std::string& text) { return tell(me_, text); }
  Delivery tell(uid_t uid, const std::string& text) {
    const auto told = notifier_.tell(uid, text);
    EXPECT_EQ(fake::message(told), "");
    return told.value_or(Delivery::kept);
  }
  std::vector<std::string> kept(uid_t uid) const {
    std::vector<std::string> texts;
    const auto notices = notifier_.pending(uid);
    EXPECT_EQ(fake::message(notices), "");
    for (const auto& notice : notices.value_or(std::vector<Notice>{})) texts.push_back(notice.text);
    return texts;
  }

  const uid_t me_ = ::getuid();
  fake::Folder folder_;
  fake::Clock clock_;
  database::Database database_{folder_.path() / "ds01.db"};
  std::vector<std::string> sessions_;
  Notifier notifier_{{database_, clock_, "/dev", folder_.path() / "utmp", [this](uid_t) { return sessions_; }}};
};

// ---- Terminals

TEST_F(NotifierTest, TerminalOfALoginIsTold) {
  const Terminal terminal;
  logins({terminal.name()});
  EXPECT_EQ(tell("hello"), Delivery::terminal);
  EXPECT_EQ(terminal.received(), "\r\nhello\r\n");
  EXPECT_THAT(kept(me_), IsEmpty());
}

TEST_F(NotifierTest, TerminalOfASessionIsTold) {
  const Terminal terminal;
  sessions_ = {terminal.name()};
  EXPECT_EQ(tell("hello"), Delivery::terminal);
  EXPECT_EQ(terminal.received(), "\r\nhello\r\n");
}

TEST_F(NotifierTest, EveryTerminalIsToldOnce) {
  const Terminal one;
  const Terminal two;
  logins({one.name(), two.name(), one.name()});
  sessions_ = {one.name()};
  EXPECT_EQ(tell("hello"), Delivery::terminal);
  EXPECT_EQ(one.received(), "\r\nhello\r\n");
  EXPECT_EQ(two.received(), "\r\nhello\r\n");
}

TEST_F(NotifierTest, WithoutMesgItIsKept) {
  const Terminal terminal;
  terminal.allow(0600);
  logins({terminal.name()});
  EXPECT_EQ(tell("hello"), Delivery::kept);
  EXPECT_EQ(terminal.received(), "");
  EXPECT_THAT(kept(me_), ElementsAre("hello"));
}

TEST_F(NotifierTest, OneTerminalThatTakesItIsEnough) {
  const Terminal before;
  const Terminal open;
  const Terminal after;
  before.allow(0600);
  after.allow(0600);
  logins({before.name(), open.name(), after.name()});
  EXPECT_EQ(tell("hello"), Delivery::terminal);
  EXPECT_EQ(before.received(), "");
  EXPECT_EQ(open.received(), "\r\nhello\r\n");
  EXPECT_EQ(after.received(), "");
}

TEST_F(NotifierTest, TerminalOfSomebodyElseIsNotTold) {
  const Terminal terminal;
  logins({terminal.name()});
  sessions_ = {terminal.name()};
  EXPECT_EQ(tell(me_ + 1, "not for you"), Delivery::kept);
  EXPECT_EQ(terminal.received(), "");
  EXPECT_THAT(kept(me_ + 1), ElementsAre("not for you"));
  EXPECT_THAT(kept(me_), IsEmpty());
}

TEST_F(NotifierTest, TerminalThatTakesNothingHoldsNobodyUp) {
  const Terminal terminal;
  logins({terminal.name()});
  terminal.stop();
  EXPECT_EQ(tell("hello"), Delivery::kept);
  terminal.go_on();
  EXPECT_EQ(terminal.received(), "");
  EXPECT_THAT(kept(me_), ElementsAre("hello"));
}

TEST_F(NotifierTest, LinesAreKeptApartAndEscapesAreHarmless) {
  const Terminal terminal;
  logins({terminal.name()});
  EXPECT_EQ(tell("one\ntwo\x1b[2J\r\xff\xc2\x9b"
                 "5n"),
            Delivery::terminal);
  EXPECT_EQ(terminal.received(), "\r\none\r\ntwo\\x1b[2J\\x0d\\xff\\xc2\\x9b5n\r\n");
}

TEST_F(NotifierTest, TextKeptIsHarmlessToo) {
  EXPECT_EQ(tell("one\ntwo\x1b[2J"), Delivery::kept);
  EXPECT_THAT(kept(me_), ElementsAre("one\ntwo\\x1b[2J"));
}

TEST_F(NotifierTest, LoginsThatAreOverAreNotTold) {
  const Terminal terminal;
  folder_.write("utmp", utmp_line(terminal.name(), DEAD_PROCESS) + utmp_line(terminal.name(), LOGIN_PROCESS));
  EXPECT_EQ(tell("hello"), Delivery::kept);
  EXPECT_EQ(terminal.received(), "");
}

TEST_F(NotifierTest, RecordCutShortIsNoLogin) {
  const Terminal terminal;
  folder_.write("utmp", utmp_line(terminal.name()).substr(0, sizeof(struct utmp) - 1));
  EXPECT_EQ(tell("hello"), Delivery::kept);
  folder_.write("utmp", utmp_line(terminal.name()) + "rest");
  EXPECT_EQ(tell("hello"), Delivery::terminal);
}

TEST_F(NotifierTest, UtmpOverItsLimitIsLeftAlone) {
  const Terminal terminal;
  std::string text = utmp_line(terminal.name());
  text.resize(1024 * 1024 + 1, '\x07');
  folder_.write("utmp", text);
  EXPECT_EQ(tell("hello"), Delivery::kept);
  text.pop_back();
  folder_.write("utmp", text);
  EXPECT_EQ(tell("hello"), Delivery::terminal);
}

TEST_F(NotifierTest, UtmpOfNoiseIsHarmless) {
  std::string noise;
  for (std::size_t i = 0; i < 100 * sizeof(struct utmp); ++i) noise += static_cast<char>(i * 2654435761U >> 13U);
  folder_.write("utmp", noise + utmp_line(std::string(sizeof(utmp::ut_line), '1')));
  EXPECT_EQ(tell("hello"), Delivery::kept);
}

// A folder of the test in place of /dev: nothing in it is a device, whatever its name.
TEST_F(NotifierTest, FilesAndLinksBehindGoodNamesAreLeftAlone) {
  const Terminal terminal;
  folder_.write("dev/tty1", "");
  folder_.make("dev/pts");
  std::filesystem::create_symlink("/dev/" + terminal.name(), folder_.path() / "dev/pts/0");
  ASSERT_EQ(::chmod((folder_.path() / "dev/tty1").c_str(), 0660), 0);
  ASSERT_EQ(::mkfifo((folder_.path() / "dev/tty2").c_str(), 0660), 0);
  logins({"tty1", "tty2", "pts/0"});
  Notifier notifier({database_, clock_, folder_.path() / "dev", folder_.path() / "utmp",
                     [](uid_t) { return std::vector<std::string>{"tty3"}; }});
  EXPECT_EQ(notifier.tell(me_, "hello"), Delivery::kept);
  EXPECT_EQ(folder_.read("dev/tty1"), "");
  EXPECT_EQ(terminal.received(), "");
}

// These would be good if "..", "." and the like were followed.
TEST_F(NotifierTest, NamesThatLeadElsewhereAreIgnored) {
  const Terminal terminal;
  const auto number = terminal.name().substr(4);
  logins({"../dev/pts/" + number, "pts/../pts/" + number, "/dev/pts/" + number, "./pts/" + number, "pts//" + number,
          "../../etc/passwd", "pts/../x"});
  EXPECT_EQ(tell("hello"), Delivery::kept);
  EXPECT_EQ(terminal.received(), "");
}

TEST(TerminalName, OnlyPtysAndConsolesAreOnes) {
  for (const auto* name : {"pts/0", "pts/31", "tty1", "tty63"}) EXPECT_TRUE(is_terminal_name(name)) << name;
  for (const auto* name : {"", "pts/", "tty", "pts/x", "pts/ptmx", "ttyS0", "tty1/../x", "pts/1/2", "pts/-1", "pts/ 1",
                           "console", "null", ":0", "/dev/tty1", "../tty1", "pts/../x"})
    EXPECT_FALSE(is_terminal_name(name)) << name;
}

TEST(IsTerminal, MajorsOfPtysAndConsoles) {
  for (const unsigned number : {4U, 136U, 140U, 143U}) EXPECT_TRUE(is_terminal(makedev(number, 1))) << number;
  for (const unsigned number : {0U, 1U, 5U, 135U, 144U, 195U}) EXPECT_FALSE(is_terminal(makedev(number, 1))) << number;
}

// ---- Notices kept

TEST_F(NotifierTest, NoticesComeTheOldestFirstWithTheirTime) {
  tell("one");
  clock_.advance(5s);
  tell("two");
  tell(me_ + 1, "of another");
  const auto notices = notifier_.pending(me_);
  ASSERT_EQ(fake::message(notices), "");
  ASSERT_EQ(notices->size(), 2U);
  EXPECT_EQ(notices->at(0).text, "one");
  EXPECT_EQ(notices->at(0).time, clock_.wall() - 5s);
  EXPECT_EQ(notices->at(1).text, "two");
  EXPECT_LT(notices->at(0).number, notices->at(1).number);
}

TEST_F(NotifierTest, TheLastTwentyAreKept) {
  tell(me_ + 1, "of another");
  for (int i = 1; i <= 23; ++i) tell(std::to_string(i));
  const auto texts = kept(me_);
  ASSERT_EQ(texts.size(), 20U);
  EXPECT_EQ(texts.front(), "4");
  EXPECT_EQ(texts.back(), "23");
  EXPECT_THAT(kept(me_ + 1), ElementsAre("of another"));
}

TEST_F(NotifierTest, SeenOnesAreGoneAndLaterOnesStay) {
  for (const auto* text : {"one", "two", "three"}) tell(text);
  tell(me_ + 1, "of another");
  const auto second = notifier_.pending(me_).value().at(1).number;
  EXPECT_EQ(fake::message(notifier_.seen(me_, second)), "");
  EXPECT_THAT(kept(me_), ElementsAre("three"));
  EXPECT_EQ(fake::message(notifier_.seen(me_, UINT64_MAX)), "");
  EXPECT_THAT(kept(me_), IsEmpty());
  EXPECT_THAT(kept(me_ + 1), ElementsAre("of another"));
}

TEST_F(NotifierTest, NoticesOlderThanThirtyDaysAreForgotten) {
  tell("old");
  clock_.advance(1s);
  tell("young");
  clock_.advance(30 * 24h);
  EXPECT_EQ(fake::message(notifier_.forget_old()), "");
  EXPECT_THAT(kept(me_), ElementsAre("young"));
}

TEST_F(NotifierTest, DatabaseUnusableIsAnErrorOnlyWhereItIsNeeded) {
  const Terminal terminal;
  database::Database broken(folder_.make("folder"));
  Notifier notifier({broken, clock_, "/dev", folder_.path() / "utmp", [this](uid_t) { return sessions_; }});
  EXPECT_EQ(fake::code(notifier.tell(me_, "hello")), ErrorCode::system);
  EXPECT_EQ(fake::code(notifier.pending(me_)), ErrorCode::system);
  sessions_ = {terminal.name()};
  EXPECT_EQ(notifier.tell(me_, "hello"), Delivery::terminal);
}

TEST(LogindTerminals, OfNobodyAreNone) { EXPECT_THAT(logind_terminals(4'000'000'000U), IsEmpty()); }

}  // namespace
}  // namespace ds01::notify
