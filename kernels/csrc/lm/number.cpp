#include "number.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace mms::lm {
namespace {

constexpr std::size_t kCountDigits = 18;
constexpr int kMantissaDigits = 17;
constexpr int kMaxExponent = 400;

bool is_digit(char character) { return character >= '0' && character <= '9'; }

bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

/// Whether there was a minus; a plus is skipped.
bool take_sign(std::string_view& text) {
  const bool is_negative = take(text, '-');
  if (!is_negative) take(text, '+');
  return is_negative;
}

/// mantissa * 10^exponent
struct Decimal {
  double mantissa = 0.0;
  int exponent = 0;
  int kept = 0;  ///< Digits of the mantissa, without leading zeros.
  bool any = false;
};

/// What float64 cannot hold of the digits only moves the point.
void take_digits(std::string_view& text, bool is_fraction, Decimal& number) {
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    number.any = true;
    if (number.kept < kMantissaDigits) {
      number.mantissa = number.mantissa * 10.0 + (text.front() - '0');
      number.kept += number.mantissa != 0.0 ? 1 : 0;
      number.exponent -= is_fraction ? 1 : 0;
    } else {
      number.exponent += is_fraction ? 0 : 1;
    }
  }
}

/// An exponent, if there is one; false where it has no digits.
bool take_exponent(std::string_view& text, Decimal& number) {
  if (!take(text, 'e') && !take(text, 'E')) return true;
  const bool is_negative = take_sign(text);
  if (text.empty() || !is_digit(text.front())) return false;
  int exponent = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    exponent = std::min(exponent * 10 + (text.front() - '0'), 100000);
  }
  number.exponent += is_negative ? -exponent : exponent;
  return true;
}

bool is_infinity(std::string_view text) {
  constexpr std::string_view kLower = "inf";
  return std::equal(text.begin(), text.end(), kLower.begin(), kLower.end(), [](char a, char b) {
    return a == b || a == b - 'a' + 'A';
  });
}

}  // namespace

std::optional<float> number_of(std::string_view text) {
  const bool is_negative = take_sign(text);
  if (is_negative && is_infinity(text)) return -std::numeric_limits<float>::infinity();
  Decimal number;
  take_digits(text, false, number);
  if (take(text, '.')) take_digits(text, true, number);
  if (!number.any || !take_exponent(text, number) || !text.empty()) return std::nullopt;
  const int exponent = std::clamp(number.exponent, -kMaxExponent, kMaxExponent);
  // Dividing by a power of ten is exact where multiplying with its inverse is not.
  const double scale = std::pow(10.0, std::abs(exponent));
  double value = exponent < 0 ? number.mantissa / scale : number.mantissa * scale;
  if (number.mantissa == 0.0) value = 0.0;
  if (value > static_cast<double>(std::numeric_limits<float>::max())) return std::nullopt;
  return static_cast<float>(is_negative ? -value : value);
}

std::optional<long long> count_of(std::string_view text) {
  if (text.empty() || text.size() > kCountDigits) return std::nullopt;
  long long value = 0;
  for (const char character : text) {
    if (!is_digit(character)) return std::nullopt;
    value = value * 10 + (character - '0');
  }
  return value;
}

}  // namespace mms::lm
