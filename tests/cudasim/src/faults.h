// Error codes, the log of faults, and injected errors.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "declarations.h"

namespace cudasim {

/// Failure of a call. With a text it is the caller's fault and is logged.
class Error : public std::runtime_error {
 public:
  Error(Result code, const std::string& text) : std::runtime_error(text), code_(code) {}
  explicit Error(Result code) : Error(code, "") {}
  Result code() const { return code_; }

 private:
  Result code_;
};

/// Text of cuGetErrorString, or null for an unknown code.
const char* text_of(Result code);
std::string hex(std::uint64_t value);

/// Faults so far; each is also printed on stderr.
class FaultLog {
 public:
  void add(const std::string& fault);
  const std::vector<std::string>& lines() const { return lines_; }
  void clear() { lines_.clear(); }

 private:
  std::vector<std::string> lines_;
};

/// Errors that tests inject.
class Injections {
 public:
  /// Let `times` calls of a function, from the n-th next on, return `code`.
  void order(const std::string& function, int nth, int times, Result code);
  void clear() { orders_.clear(); }
  /// Count a call and return its injected code, or kSuccess.
  Result next(const std::string& function);

 private:
  struct Order {
    int calls_left;
    int times;
    Result code;
  };
  std::multimap<std::string, Order> orders_;
};

}  // namespace cudasim
