// SPDX-License-Identifier: Apache-2.0
// A person's terminals: which there may be, and how to write to one without trusting who named it. One thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ds01::notify {

// "pts/3" or "tty2": the names of ptys and virtual consoles below /dev, and nothing else.
bool is_terminal_name(std::string_view name);
// Whether a device of this number is one.
bool is_terminal(dev_t device);

// The terminals of all logins in a utmp file, whoever they are said to be of. None if the file cannot be used.
std::vector<std::string> utmp_terminals(const std::filesystem::path& utmp);

// Writes `data` to the terminal `name` below `dev`, if it is owned by `uid` and takes messages (`mesg y`). Never waits
// for it. Whether the terminal took any of it.
bool write_to_terminal(const std::filesystem::path& dev, std::string_view name, uid_t uid, std::string_view data);

}  // namespace ds01::notify
