// Helpers of the tests: a check that names its place, and the message of an error.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

inline void check(bool holds, const std::string& what, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  std::exit(1);
}
#define CHECK(condition) check(condition, #condition, __FILE__, __LINE__)

/// Message of the exception of a call.
template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}
