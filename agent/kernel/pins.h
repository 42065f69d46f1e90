// SPDX-License-Identifier: Apache-2.0
// Files of the BPF file system. For the files of kernel/.
#pragma once

#include <filesystem>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

namespace ds01::kernel {

// Makes the folder, its parent included; one that is not on a BPF file system is ErrorCode::unavailable.
Status make_pin_folder(const std::filesystem::path& folder);

// The pinned object; empty if there is none.
Fd open_pin(const std::filesystem::path& path);

// Pins the object at `path`, in the place of what was pinned there. There is no moment with neither.
Status replace_pin(int fd, const std::filesystem::path& path);

// Removes a folder of pins. Links are held until all pins are gone, so that closing them detaches at once.
Status remove_pin_folder(const std::filesystem::path& folder);

}  // namespace ds01::kernel
