// Memory accesses of a kernel that the host's hardware refuses, as errors instead of a crash.
#pragma once

#include <functional>

namespace cudasim {

/// Catch SIGSEGV from now on; what is not ours goes on to the handler that was there.
void install_traps();

/// Run a kernel. Throws Error(kIllegalAddress) when it touches memory that is not there.
void run_trapped(const std::function<void()>& kernel);

}  // namespace cudasim
