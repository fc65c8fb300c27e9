// Decimal numbers of a text file, whatever the locale.
#pragma once

#include <optional>
#include <string_view>

namespace mms::lm {

/// The number written so, such as -1.25, 3 or -6.1e-05; `-inf` is one too. Nothing where `text` is
/// anything else, or too large for float32.
std::optional<float> number_of(std::string_view text);

/// The whole number written in decimal digits alone, below 10^18.
std::optional<long long> count_of(std::string_view text);

}  // namespace mms::lm
