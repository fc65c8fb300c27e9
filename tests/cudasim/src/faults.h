// What goes wrong: the log of faults, errors to be injected, and the settings of the device.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "declarations.h"

namespace cudasim {

/// A call that fails as a driver's would. With a text it is a fault of the caller and is logged.
class Error : public std::runtime_error {
 public:
  Error(Result code, const std::string& text) : std::runtime_error(text), code_(code) {}
  explicit Error(Result code) : Error(code, "") {}
  Result code() const { return code_; }

 private:
  Result code_;
};

const char* name_of(Result code);
const char* text_of(Result code);
std::string hex(std::uint64_t value);

/// The faults so far; each is also a line on stderr unless `quiet`.
class FaultLog {
 public:
  void add(const std::string& fault);
  const std::vector<std::string>& lines() const { return lines_; }
  void clear() { lines_.clear(); }

 private:
  std::vector<std::string> lines_;
};

/// Errors that were ordered: the n-th next call of a function answers `code`.
class Injections {
 public:
  /// Spelled "function:n:code" and separated by commas; throws std::invalid_argument.
  void parse(const std::string& orders);
  /// With `times` calls in a row failing.
  void order(const std::string& function, int nth, int times, Result code);
  void clear() { orders_.clear(); }
  /// Count a call; returns what it shall answer.
  Result next(const std::string& function);

 private:
  struct Order {
    int calls_left;
    int times;
    Result code;
  };
  std::multimap<std::string, Order> orders_;
};

/// The device and how the double behaves, from the environment (CUDASIM_*).
struct Settings {
  int devices = 1;
  int capability = 86;               ///< CUDASIM_SM, such as 86 for 8.6.
  int multiprocessors = 28;          ///< CUDASIM_MULTIPROCESSORS.
  std::size_t memory = 8ULL << 30U;  ///< CUDASIM_MEMORY, bytes.
  int driver = 13000;                ///< CUDASIM_DRIVER, as cuDriverGetVersion says it.
  std::string name = "Simulated GPU";
  std::uint64_t seed = 0;    ///< 0: in the order of the calls, as late as possible.
  bool slow_copies = false;  ///< Copies wait until nothing else can run.
  bool host_guard = true;    ///< Device memory traps when the host touches it.
  bool quiet = false;        ///< Faults are not printed.
  std::string leaks_path;    ///< CUDASIM_REPORT: faults and leaks at exit go there as well.
  std::string fail;          ///< CUDASIM_FAIL: see Injections::parse.

  static Settings from_environment();
};

}  // namespace cudasim
