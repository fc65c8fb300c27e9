#include "traps.h"

#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "simulator.h"

namespace cudasim {
namespace {

thread_local sigjmp_buf* way_out = nullptr;
thread_local std::uint64_t bad_address = 0;
struct sigaction earlier;

void on_fault(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uint64_t>(info->si_addr);
  if (way_out != nullptr) {
    bad_address = address;
    siglongjmp(*way_out, 1);
  }
  if (simulator().memory.covers(address)) {
    const std::string text =
        "cudasim: the host touches device memory: " + simulator().memory.describe(address) + "\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
  }
  sigaction(signal, &earlier, nullptr);  // the access is retried, and goes to that handler
}

}  // namespace

void install_traps() {
  static bool installed = false;
  if (installed) return;
  installed = true;
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &earlier);
}

void run_trapped(const std::function<void()>& kernel) {
  sigjmp_buf here;
  sigjmp_buf* const outer = way_out;
  // Memory of the kernel's fibers leaks here; the context does not survive the fault anyway.
  if (sigsetjmp(here, 1) != 0) {
    way_out = outer;
    throw Error(code::kIllegalAddress, "access to " + simulator().memory.describe(bad_address));
  }
  way_out = &here;
  try {
    kernel();
  } catch (...) {
    way_out = outer;
    throw;
  }
  way_out = outer;
}

}  // namespace cudasim
