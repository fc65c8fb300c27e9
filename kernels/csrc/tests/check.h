// What the tests share: a check that names its place, the message of an error, random numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

inline void check(bool holds, const std::string& what, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  std::exit(1);
}
#define CHECK(condition) check(condition, #condition, __FILE__, __LINE__)

/// What a call throws.
template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// Logits of N(0, `spread`), [frames * vocab].
inline std::vector<float> random_logits(std::int64_t frames,
                                        std::int64_t vocab,
                                        unsigned seed,
                                        float spread) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> logits(static_cast<std::size_t>(frames * vocab));
  for (float& logit : logits) logit = normal(generator);
  return logits;
}
