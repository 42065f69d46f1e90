// SPDX-License-Identifier: Apache-2.0
#include "database/schema.h"

#include <array>

namespace ds01::database {
namespace {

// Times are nanoseconds since 1970 unless a column says otherwise; durations are seconds. An end is an EndRecord
// (core/deadline.h): without ends_wall it is never. AUTOINCREMENT, because a number is never used again.
constexpr const char* kFirst = R"sql(
CREATE TABLE grants (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  uid INTEGER,              -- of a user; of a cgroup there is `path`
  name TEXT NOT NULL,       -- the account's, when granted
  path TEXT,
  gpus TEXT,                -- NULL: all; else a line "INDEX UUID" for each
  created INTEGER NOT NULL,
  ends_boot INTEGER,        -- nanoseconds of CLOCK_BOOTTIME of the boot named by boot_id
  ends_wall INTEGER,
  boot_id TEXT NOT NULL,
  term INTEGER NOT NULL,
  warned INTEGER,
  on_expiry TEXT NOT NULL,
  granted_by_uid INTEGER NOT NULL,
  granted_by_name TEXT NOT NULL,
  granted_by_login INTEGER,
  reason TEXT NOT NULL,
  state TEXT NOT NULL,
  ended INTEGER,            -- NULL while it is living
  ended_by_uid INTEGER,     -- NULL if nobody ended it
  ended_by_name TEXT,
  ended_by_login INTEGER,
  end_reason TEXT NOT NULL,
  CHECK ((uid IS NULL) <> (path IS NULL)),
  CHECK (ends_boot IS NULL OR ends_wall IS NOT NULL)
);
-- A subject has one living grant at most.
CREATE UNIQUE INDEX grants_living_uid ON grants (uid) WHERE ended IS NULL;
CREATE UNIQUE INDEX grants_living_path ON grants (path) WHERE ended IS NULL;
CREATE INDEX grants_uid ON grants (uid, number);
CREATE INDEX grants_ended ON grants (ended, number) WHERE ended IS NOT NULL;

CREATE TABLE requests (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  uid INTEGER NOT NULL,
  name TEXT NOT NULL,
  login INTEGER,
  duration INTEGER NOT NULL,
  gpus TEXT NOT NULL,       -- as asked
  reason TEXT NOT NULL,
  created INTEGER NOT NULL,
  ends_boot INTEGER,        -- when it lapses
  ends_wall INTEGER,
  boot_id TEXT NOT NULL,
  state TEXT NOT NULL,
  decided INTEGER,          -- NULL while it is pending
  decided_by_uid INTEGER,   -- NULL if no person did
  decided_by_name TEXT,
  decided_by_login INTEGER,
  answer TEXT NOT NULL,
  grant_number INTEGER
);
CREATE INDEX requests_pending ON requests (number) WHERE decided IS NULL;
CREATE INDEX requests_uid ON requests (uid, number);
CREATE INDEX requests_decided ON requests (decided) WHERE decided IS NOT NULL;

CREATE TABLE notices (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  uid INTEGER NOT NULL,
  time INTEGER NOT NULL,
  text TEXT NOT NULL
);
CREATE INDEX notices_uid ON notices (uid, number);

CREATE TABLE modes (
  gate TEXT PRIMARY KEY,
  mode TEXT NOT NULL,
  ends_boot INTEGER,
  ends_wall INTEGER,
  boot_id TEXT NOT NULL
);

-- Small things that outlive the agent, such as counters.
CREATE TABLE facts (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);
)sql";

constexpr const char* kCaps = R"sql(
ALTER TABLE grants ADD COLUMN caps TEXT NOT NULL DEFAULT '';  -- names of capability nodes, separated by commas
)sql";

constexpr std::array kSchema{kFirst, kCaps};

}  // namespace

std::span<const char* const> schema() { return kSchema; }

}  // namespace ds01::database
