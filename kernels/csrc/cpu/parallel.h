// Parallel loop over independent rows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace mms {

/// Call `visit(row)` for each row in [0, rows) on `threads` threads, including this one.
///
/// All rows are visited even if one throws; the exception of the lowest row is then rethrown, so
/// that the outcome does not depend on the number of threads. Messages of std::invalid_argument
/// get the row as a prefix.
template <typename Visit>
void for_each_row(std::int64_t rows, std::int64_t threads, const Visit& visit) {
  if (threads < 1) {
    throw std::invalid_argument("threads is " + std::to_string(threads) +
                                ", it must be at least 1");
  }
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(rows));
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t row = next++; row < rows; row = next++) {
      try {
        visit(row);
      } catch (const std::invalid_argument& error) {
        const auto message = "row " + std::to_string(row) + ": " + error.what();
        errors[static_cast<std::size_t>(row)] =
            std::make_exception_ptr(std::invalid_argument(message));
      } catch (...) {
        errors[static_cast<std::size_t>(row)] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> workers;
  try {
    for (std::int64_t i = 1; i < std::min(threads, rows); ++i) workers.emplace_back(work);
  } catch (const std::system_error&) {
    // No more threads are available: those that started, and this one, do the work.
  }
  work();
  for (auto& worker : workers) worker.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace mms
