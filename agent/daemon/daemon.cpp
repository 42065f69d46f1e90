// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "audit/trail.h"
#include "authz/authz.h"
#include "control/api.h"
#include "core/files.h"
#include "core/paths.h"
#include "daemon/lock.h"
#include "daemon/log.h"
#include "daemon/uevents.h"
#include "daemon/upkeep.h"
#include "daemon/watches.h"
#include "enforcer/enforcer.h"
#include "grants/requests.h"
#include "grants/service.h"
#include "http/http.h"
#include "kernel/selftest.h"
#include "notify/announcer.h"

namespace ds01::daemon {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr auto kAccountsRefresh = 5min;  // of accounts and groups that are not in files
constexpr auto kAuditTick = 60s;
constexpr auto kCatchUp = 5s;  // after a failure of the store or the kernel

std::map<uid_t, std::uint64_t> denials_by_uid(const std::vector<kernel::Count>& counts) {
  std::map<uid_t, std::uint64_t> totals;
  for (const auto& row : counts)
    if (row.key.device_class != DS01_CLASS_SELFTEST)
      totals[row.key.uid] += row.value.verdicts[DS01_DENIED] + row.value.verdicts[DS01_WOULD_DENY];
  return totals;
}

class Daemon {
 public:
  Daemon(const Options& options, config::Config config, std::filesystem::path cgroup_root, identity::CgroupWatch watch)
      : options_(options),
        cgroups_(std::move(cgroup_root)),
        cgroup_watch_(std::move(watch)),
        database_(options.database),
        enforcer_({clock_,
                   users_,
                   cgroups_,
                   database_,
                   {paths::kProc, paths::kLsmList, options.runtime, paths::kPins},
                   [this](const ds01_event& event) { on_event(event); }},
                  config),
        grants_({enforcer_, store_, clock_, users_, cgroups_, [] { return devices::list_gpus(paths::kProc); }},
                config.grants, config.notices.before_end),
        requests_({grants_, store_, clock_, users_}, config.grants),
        trail_({clock_, users_, cgroups_, paths::kProc,
                [](const Error& error) { log::error(fmt::format("audit: {}", error.message)); }},
               config.audit),
        announcer_({notifier_, clock_,
                    [this](uid_t uid, const std::string& text, const Result<notify::Delivery>& delivery) {
                      on_told(uid, text, delivery);
                    }}),
        api_({enforcer_, grants_, requests_, trail_, notifier_, announcer_, database_, clock_, users_, clock_.wall(),
              [this] { on_change(); }}) {}

  Status start();
  void run() { io_.run(); }
  void finish();

 private:
  Status serve(const char* name, authz::Socket socket);
  Status restore();
  Status restore_grants();
  Status load_grants();
  Status sync_grants();
  void report_start(const Status& attached);
  Status watch_all();
  http::Response answer(authz::Socket socket, const http::Peer& peer, const http::Request& request);
  struct FileRights {
    mode_t mode;
    gid_t group;
  };
  FileRights admin_rights() const;
  Status renew_admin_rights() const;
  void find_admins();
  std::set<std::string> watched_cgroups() const;
  void refresh(const char* cause);
  void reload();
  void on_event(const ds01_event& event);
  void on_events();
  void on_told(uid_t uid, const std::string& text, const Result<notify::Delivery>& delivery);
  void on_change();
  std::string lost_events_fact() const;
  std::uint64_t lost_events_reported();
  void on_clock_change();
  void catch_up();
  Status try_to_catch_up();
  void on_accounts_change();
  void on_signal();
  void arm_refresh();
  void arm_audit();
  void close_audit_windows(bool final);
  void watch(asio::posix::stream_descriptor& descriptor, std::function<void()> react);

  Options options_;
  asio::io_context io_{1};
  SystemClock clock_;
  identity::SystemUsers users_;
  identity::Cgroups cgroups_;
  identity::CgroupWatch cgroup_watch_;
  database::Database database_;
  enforcer::Enforcer enforcer_;
  grants::Store store_{database_, clock_};
  grants::Service grants_;
  grants::Requests requests_;
  audit::Trail trail_;
  notify::Notifier notifier_{{database_, clock_, paths::kDev, paths::kUtmp, notify::logind_terminals}};
  notify::Announcer announcer_;
  Upkeep upkeep_{{io_, clock_, database_, grants_, store_, requests_, notifier_, announcer_, trail_}};
  control::Api api_;
  std::set<uid_t> admins_;
  std::uint64_t lost_reported_ = 0;
  // What catch_up() has to do yet.
  bool loaded_ = false;
  bool synced_ = false;
  bool clock_followed_ = false;
  std::string behind_;  // why; what was logged last
  std::vector<std::unique_ptr<http::Server>> servers_;
  std::vector<std::filesystem::path> served_;
  asio::signal_set signals_{io_, SIGTERM, SIGINT, SIGHUP};
  asio::steady_timer refresh_timer_{io_};
  asio::steady_timer audit_timer_{io_};
  asio::steady_timer catch_up_timer_{io_};
  // Descriptors that others own; released, not closed, at the end.
  asio::posix::stream_descriptor events_{io_};
  asio::posix::stream_descriptor cgroup_events_{io_};
  asio::posix::stream_descriptor uevents_{io_};
  asio::posix::stream_descriptor clock_watch_{io_};
  asio::posix::stream_descriptor accounts_watch_{io_};
};

// Calls `react` each time the descriptor is readable.
void Daemon::watch(asio::posix::stream_descriptor& descriptor, std::function<void()> react) {
  descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                        [this, &descriptor, react](boost::system::error_code error) {
                          if (error) return;
                          react();
                          watch(descriptor, react);
                        });
}

Status Daemon::start() {
  for (const auto& warning : enforcer_.config().without_effect)
    log::warn(fmt::format("{}: '{}' has no effect in this version", options_.config.string(), warning));
  find_admins();
  on_signal();
  const auto attached = restore();
  report_start(attached);
  // The admins' first: who finds only the other one is told what a user may know.
  if (attached) DS01_CHECK(serve("admin.sock", authz::Socket::admin));
  DS01_CHECK(serve("agent.sock", authz::Socket::agent));
  if (!attached) return {};
  DS01_CHECK(watch_all());
  on_events();
  refresh("start");
  arm_refresh();
  arm_audit();
  upkeep_.rearm();
  upkeep_.forget_old();
  sd_notify(0, "READY=1");
  log::info(fmt::format("enforcing: mode {}", config::to_string(enforcer_.mode_now())));
  return {};
}

// Policy first, then the grants, then the programs that decide by them: nobody's grant is missing when they start.
Status Daemon::restore() {
  const auto prepared = enforcer_.prepare();
  for (const auto& warning : enforcer_.resolved().warnings) log::warn(warning);
  DS01_CHECK(prepared);
  if (!enforcer_.knows_override())
    log::critical("the mode set by hand cannot be read: full until it can, unless agent.yaml says disabled");
  if (const auto counts = enforcer_.counts()) trail_.begin(denials_by_uid(*counts));
  lost_reported_ = lost_events_reported();
  const auto restored = restore_grants();
  if (!restored) {
    behind_ = restored.error().message;
    log::critical(fmt::format("{}. Until then the grants in force stay, and none can be changed", behind_));
  }
  // Programs of another version decide by maps of their own, and would go with the grants that nobody can read.
  if (!restored && enforcer_.found_attached() && !enforcer_.found_grants()) {
    enforcer_.hold_back(restored.error());
    return restored;
  }
  return enforcer_.attach();
}

// Without a store that can be used, the grants in the kernel stay as they are, and none is added. What has worked is
// not done again.
Status Daemon::restore_grants() {
  if (!loaded_) DS01_CHECK(load_grants());
  if (!synced_) DS01_CHECK(sync_grants());
  return {};
}

Status Daemon::load_grants() {
  DS01_TRY(const auto suspended, grants_.load());
  DS01_CHECK(requests_.load());
  loaded_ = true;
  upkeep_.report(suspended);
  return {};
}

Status Daemon::sync_grants() {
  DS01_TRY(const auto drift, grants_.sync());
  synced_ = true;
  if (!drift.any() || !enforcer_.found_grants()) return {};
  trail_.drifted(
      fmt::format("the kernel's grants were not those of the store and were put right: {} missing, {} "
                  "different, {} unknown",
                  drift.missing, drift.different, drift.unknown));
  for (const auto& example : drift.examples) trail_.drifted(example);
  return {};
}

void Daemon::report_start(const Status& attached) {
  if (attached) {
    trail_.started(fmt::format("ds01d {} gates GPU devices, mode {}{}", DS01_VERSION,
                               config::to_string(enforcer_.mode_now()),
                               enforcer_.found_attached() ? "; the gate was closed before" : ""));
    return;
  }
  const auto& reason = attached.error().message;
  const bool others = enforcer_.found_attached();
  log::critical(others ? fmt::format("NOT TAKING OVER from the agent before, whose gate goes on: {}", reason)
                       : fmt::format("NOT ENFORCING: {}", reason));
  trail_.started(others ? fmt::format("ds01d {} is NOT taking over, the gate of the agent before goes on: {}",
                                      DS01_VERSION, reason)
                        : fmt::format("ds01d {} is NOT enforcing: {}", DS01_VERSION, reason));
  sd_notifyf(0, "STATUS=%s: %s", others ? "Not taking over" : "Not enforcing", reason.c_str());
}

Status Daemon::watch_all() {
  events_.assign(enforcer_.events_fd());
  watch(events_, [this] { on_events(); });
  cgroup_events_.assign(cgroup_watch_.fd());
  watch(cgroup_events_, [this] {
    cgroup_watch_.drain();
    refresh("cgroups");
  });
  DS01_TRY(Fd uevents, open_uevents());
  uevents_.assign(uevents.release());
  watch(uevents_, [this] {
    if (drain_uevents(uevents_.native_handle())) refresh("devices");
  });
  DS01_TRY(Fd clock, watch_clock());
  clock_watch_.assign(clock.release());
  watch(clock_watch_, [this] { on_clock_change(); });
  DS01_TRY(Fd accounts, watch_accounts(paths::kEtc));
  accounts_watch_.assign(accounts.release());
  watch(accounts_watch_, [this] {
    if (drain_accounts_watch(accounts_watch_.native_handle())) on_accounts_change();
  });
  on_clock_change();  // it may have been set since the programs were told
  return {};
}

Status Daemon::serve(const char* name, authz::Socket socket) {
  const bool admin = socket == authz::Socket::admin;
  const auto path = options_.runtime / name;
  const auto rights = admin ? admin_rights() : FileRights{0666, 0};
  // The gate learns of admin.sock before the first connection can be made.
  DS01_TRY(auto listener, http::listen_unix(path, rights.mode, rights.group,
                                            [&] { return admin ? enforcer_.guard(path) : Status{}; }));
  served_.push_back(path);
  servers_.push_back(std::make_unique<http::Server>(
      io_, std::move(listener), http::Limits{},
      [this, socket](const http::Peer& peer, const http::Request& request) { return answer(socket, peer, request); },
      [this](const http::Rejection& rejection) {
        trail_.refused(rejection.peer.uid, rejection.peer.pid, rejection.reason);
      }));
  return {};
}

http::Response Daemon::answer(authz::Socket socket, const http::Peer& peer, const http::Request& request) {
  const auto facts = authz::collect(paths::kProc, socket, peer);
  const authz::Caller caller{{peer.uid, identity::display_name(users_, peer.uid), facts.login_uid},
                             peer.pid,
                             authz::is_admin(facts, admins_),
                             facts.proven_host,
                             facts.cgroup};
  return api_.handle(caller, request);
}

// A file mode can name one group. Where agent.yaml names more than that, everybody on the host may knock, and whoever
// is no admin is refused by the API.
Daemon::FileRights Daemon::admin_rights() const {
  const auto& config = enforcer_.config();
  if (!config.admin_users.empty() || config.admin_groups.size() > 1) return {0666, 0};
  if (config.admin_groups.empty()) return {0600, 0};
  return {0660, users_.gid_of(config.admin_groups.front()).value_or(0)};
}

Status Daemon::renew_admin_rights() const {
  const auto path = (options_.runtime / "admin.sock").string();
  const auto rights = admin_rights();
  if (::chmod(path.c_str(), 0600) != 0 || ::lchown(path.c_str(), 0, rights.group) != 0 ||
      ::chmod(path.c_str(), rights.mode) != 0)
    return fail_errno(path);
  return {};
}

void Daemon::find_admins() {
  admins_.clear();
  for (const auto& name : enforcer_.config().admin_users)
    if (const auto uid = identity::find_uid(users_, name)) admins_.insert(*uid);
  for (const auto& name : enforcer_.config().admin_groups)
    if (auto members = users_.members_of(name)) admins_.merge(*members);
}

std::set<std::string> Daemon::watched_cgroups() const {
  auto paths = policy::named_cgroups(enforcer_.config());
  paths.merge(grants_.cgroup_paths());
  return paths;
}

// Something the policy depends on may have changed. A failure keeps the policy in force and is tried again.
void Daemon::refresh(const char* cause) {
  // Watch first, look second: what changes in between is seen by one or the other.
  cgroup_watch_.watch(cgroups_.root(), watched_cgroups());
  const auto warned = enforcer_.resolved().warnings;
  const auto refreshed = enforcer_.refresh();
  if (enforcer_.resolved().warnings != warned)
    for (const auto& warning : enforcer_.resolved().warnings) log::warn(warning);
  if (!refreshed)
    log::error(fmt::format("after a change of {}: {}; the policy in force stays", cause, refreshed.error().message));
  if (const auto followed = grants_.refresh_cgroups(); !followed)
    log::error(fmt::format("grants to cgroups: {}", followed.error().message));
}

void Daemon::reload() {
  auto config = config::load(options_.config);
  auto applied = config ? enforcer_.apply(*config) : Status(std::unexpected(config.error()));
  if (!applied) {
    log::error(fmt::format("{}; the running configuration stays", applied.error().message));
    trail_.reopen();
    trail_.reloaded(fmt::format("configuration refused, the running one stays: {}", applied.error().message),
                    audit::Level::error);
    return;
  }
  grants_.configure(config->grants, config->notices.before_end);
  requests_.configure(config->grants);
  trail_.configure(config->audit);
  find_admins();
  if (enforcer_.attached())
    if (const auto renewed = renew_admin_rights(); !renewed) log::error(renewed.error().message);
  refresh("configuration");
  for (const auto& warning : enforcer_.resolved().warnings) log::warn(warning);
  trail_.reloaded(fmt::format("configuration {} loaded, mode {}", options_.config.string(),
                              config::to_string(enforcer_.mode_now())),
                  audit::Level::notice);
}

void Daemon::on_signal() {
  signals_.async_wait([this](boost::system::error_code error, int signal) {
    if (error) return;
    if (signal != SIGHUP) return io_.stop();
    sd_notify(0, "RELOADING=1");
    reload();
    // Ready means enforcing; an agent that is not cannot become so by a reload.
    if (enforcer_.attached()) sd_notify(0, "READY=1");
    on_signal();
  });
}

void Daemon::on_event(const ds01_event& event) {
  if (event.device_class != DS01_CLASS_SELFTEST) trail_.denial(event);
}

void Daemon::on_events() {
  if (const auto taken = enforcer_.consume_events(); !taken) log::error(taken.error().message);
  const auto lost = enforcer_.losses()[DS01_LOST_EVENTS];
  if (lost == lost_reported_) return;
  trail_.lost(lost - lost_reported_);
  lost_reported_ = lost;
  if (const auto kept = database_.run("INSERT OR REPLACE INTO facts(name, value) VALUES(?, ?)",
                                      {lost_events_fact(), std::to_string(lost)});
      !kept)
    log::error(kept.error().message);
}

// The kernel counts from the first agent of this boot on.
std::string Daemon::lost_events_fact() const { return "events_lost_reported " + clock_.boot_id(); }

std::uint64_t Daemon::lost_events_reported() {
  std::uint64_t reported = 0;
  (void)database_.run("SELECT value FROM facts WHERE name = ?", {lost_events_fact()},
                      [&](const database::Row& row) { reported = parse_number(row.text(0)).value_or(0); });
  return reported;
}

void Daemon::on_told(uid_t uid, const std::string& text, const Result<notify::Delivery>& delivery) {
  if (!delivery) return log::error(fmt::format("a notice to uid {}: {}", uid, delivery.error().message));
  trail_.noticed(uid, text, *delivery == notify::Delivery::terminal ? "terminal" : "kept");
}

void Daemon::on_change() {
  upkeep_.rearm();
  cgroup_watch_.watch(cgroups_.root(), watched_cgroups());
}

void Daemon::on_clock_change() {
  rearm_clock_watch(clock_watch_.native_handle());
  clock_followed_ = false;
  catch_up();
}

// What could not be done at the start, or when the clock was set, is tried until it is done.
void Daemon::catch_up() {
  const auto done = try_to_catch_up();
  const std::string behind = done ? "" : done.error().message;
  if (behind != behind_ && !done) log::error(behind);
  if (behind != behind_ && done) log::info("the store can be used again");
  behind_ = behind;
  on_change();
  if (done) {
    catch_up_timer_.cancel();
    return;
  }
  catch_up_timer_.expires_after(kCatchUp);
  catch_up_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) catch_up();
  });
}

Status Daemon::try_to_catch_up() {
  database_.retry();
  // The programs are told of the clock whatever becomes of the store.
  const auto followed = clock_followed_ ? Status() : enforcer_.clock_changed();
  const bool knew = enforcer_.knows_override();
  DS01_CHECK(enforcer_.learn_override());
  if (!knew) log::info(fmt::format("the mode can be read again: {}", config::to_string(enforcer_.mode_now())));
  DS01_CHECK(restore_grants());
  DS01_CHECK(followed);
  if (!clock_followed_) DS01_CHECK(grants_.clock_changed());
  clock_followed_ = true;
  if (database_.unwritable()) return std::unexpected(*database_.unwritable());
  return {};
}

void Daemon::on_accounts_change() {
  find_admins();
  refresh("accounts");
  upkeep_.check_accounts();
}

void Daemon::arm_refresh() {
  refresh_timer_.expires_after(kAccountsRefresh);
  refresh_timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    on_accounts_change();
    arm_refresh();
  });
}

void Daemon::arm_audit() {
  audit_timer_.expires_after(kAuditTick);
  audit_timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    close_audit_windows(false);
    arm_audit();
  });
}

void Daemon::close_audit_windows(bool final) {
  const auto counts = enforcer_.counts();
  if (!counts) {
    log::error(counts.error().message);
    return;
  }
  trail_.close_windows(denials_by_uid(*counts), final);
}

void Daemon::finish() {
  sd_notify(0, "STOPPING=1");
  if (enforcer_.attached()) {
    on_events();
    close_audit_windows(true);
  }
  events_.release();
  cgroup_events_.release();
  trail_.stopped();
  for (const auto& path : served_) ::unlink(path.c_str());
}

Status make_runtime_folder(const std::filesystem::path& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(folder.string());
  return {};
}

}  // namespace

Status self_test() {
  DS01_CHECK(kernel::check_lsm_list(paths::kLsmList));
  DS01_TRY(const auto gate, kernel::Gate::load());
  DS01_CHECK(gate->attach());
  return kernel::self_test(*gate, {}, paths::kRun);
}

Status detach() { return kernel::remove_pins(paths::kPins); }

Status run(const Options& options) {
  DS01_TRY(auto config, config::load(options.config));
  DS01_TRY(auto cgroup_root, identity::find_cgroup_root(paths::kMounts));
  DS01_TRY(auto watch, identity::CgroupWatch::make());
  DS01_CHECK(make_runtime_folder(options.runtime));
  // Before the database is opened: a newer agent that is started by hand must not change it under the one that runs.
  DS01_TRY(const auto lock, lock_store(options.database.parent_path()));
  Daemon daemon(options, std::move(config), std::move(cgroup_root), std::move(watch));
  DS01_CHECK(daemon.start());
  daemon.run();
  daemon.finish();
  return {};
}

}  // namespace ds01::daemon
