// Invalid memory accesses of a kernel, as errors instead of a crash.
#pragma once

#include <functional>

namespace cudasim {

/// Catch SIGSEGV from now on; accesses outside kernels go to the previous handler.
void install_traps();

/// Run a kernel. Throws Error(kIllegalAddress) if it touches memory outside every allocation.
void run_trapped(const std::function<void()>& kernel);

}  // namespace cudasim
