#include "mms/arpa.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "builder.h"

namespace mms {
namespace {

constexpr std::size_t kMaxPreamble = 1000;
constexpr std::uint64_t kMaxGrams = 0xfffffff0;
constexpr float kLogZero = -99.0F;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string shown(1, '\'');
  shown += text.substr(0, kShown);
  shown += text.size() > kShown ? "...'" : "'";
  return shown;
}

bool is_blank(char character) { return character == ' ' || character == '\t'; }

/// Line without trailing blanks and line end.
std::string_view trimmed(std::string_view line) {
  while (!line.empty() && (is_blank(line.back()) || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

/// Fields of a line: a number, words, perhaps a number.
struct Fields {
  std::array<std::string_view, kMaxOrder + 2> items;
  std::size_t count = 0;  ///< One more than the capacity if there are too many.
};

Fields fields_of(std::string_view line) {
  Fields fields;
  std::size_t at = 0;
  while (at < line.size()) {
    if (is_blank(line[at])) {
      ++at;
      continue;
    }
    const std::size_t begin = at;
    while (at < line.size() && !is_blank(line[at])) ++at;
    if (fields.count == fields.items.size()) return {fields.items, fields.count + 1};
    fields.items[fields.count++] = line.substr(begin, at - begin);
  }
  return fields;
}

/// Parse a field as a number, in any locale; nothing if it is none.
template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (stop != end) return std::nullopt;
  const bool is_tiny = error == std::errc::result_out_of_range &&
                       (text.find("e-") != text.npos || text.find("E-") != text.npos);
  return error == std::errc() || is_tiny ? std::optional(value) : std::nullopt;
}

/// A logarithm from -kMaxLog10, to which lower ones are raised, to kMaxLog10; -inf, which stands
/// for probability 0, becomes kLogZero.
std::optional<float> log10_of(std::string_view text) {
  if (text == "-inf" || text == "-INF" || text == "-Inf") return kLogZero;
  // std::from_chars takes no plus.
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const std::optional<double> value = number_of<double>(text);
  if (!value || !(*value <= static_cast<double>(kMaxLog10))) return std::nullopt;
  return std::max(static_cast<float>(*value), -kMaxLog10);
}

float score_of(std::string_view text) {
  const std::optional<float> score = log10_of(text);
  if (!score) refuse(quoted(text) + " is not a log10 probability");
  if (*score > 0.0F) refuse("the log10 probability " + quoted(text) + " is positive");
  return *score;
}

float backoff_of(std::string_view text) {
  const std::optional<float> backoff = log10_of(text);
  if (!backoff) refuse(quoted(text) + " is not a back-off weight");
  return *backoff;
}

}  // namespace

class ArpaReader::Parser {
 public:
  void read(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      const std::string_view piece = text.substr(0, end);
      if (partial_.size() + piece.size() > kMaxLine) {
        refuse("line " + std::to_string(line_ + 1) + ": longer than " + std::to_string(kMaxLine) +
               " bytes");
      }
      if (end == std::string_view::npos) {
        partial_ += piece;
        return;
      }
      read_whole(piece);
      text.remove_prefix(end + 1);
    }
  }

  std::unique_ptr<NgramImage> finish() {
    if (!partial_.empty()) read_whole({});
    if (part_ != Part::kDone) refuse(unfinished());
    return builder_.finish();
  }

 private:
  enum class Part : std::uint8_t { kPreamble, kCounts, kGrams, kDone };

  void read_whole(std::string_view rest) {
    ++line_;
    try {
      if (partial_.empty()) {
        read_line(trimmed(rest));
      } else {
        partial_ += rest;
        read_line(trimmed(partial_));
        partial_.clear();
      }
    } catch (const std::invalid_argument& error) {
      refuse("line " + std::to_string(line_) + ": " + error.what());
    }
  }

  void read_line(std::string_view line) {
    if (line_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (line.empty() || part_ == Part::kDone) return;
    if (part_ == Part::kPreamble) {
      if (line == "\\data\\") {
        part_ = Part::kCounts;
      } else if (line_ >= kMaxPreamble) {
        refuse("there is no \\data\\ so far: this is not an ARPA file");
      }
    } else if (line.front() == '\\') {
      read_section(line);
    } else if (part_ == Part::kCounts) {
      read_count(line);
    } else {
      read_gram(line);
    }
  }

  /// `ngram 2=1024`
  void read_count(std::string_view line) {
    constexpr std::string_view kName = "ngram";
    const std::size_t equals = line.find('=');
    if (!line.starts_with(kName) || equals == std::string_view::npos) {
      refuse("'ngram ORDER=COUNT' was expected, not " + quoted(line));
    }
    const auto order = fields_of(line.substr(kName.size(), equals - kName.size()));
    const auto count = fields_of(line.substr(equals + 1));
    const auto wanted = std::to_string(counts_.size() + 1);
    if (order.count != 1 || order.items[0] != wanted) {
      refuse("the count of the " + wanted + "-grams was expected, not " + quoted(line));
    }
    if (counts_.size() == kMaxOrder) {
      refuse("the order is above " + std::to_string(kMaxOrder));
    }
    const auto value = count.count == 1 ? number_of<std::uint64_t>(count.items[0]) : std::nullopt;
    if (!value || *value > kMaxGrams) {
      refuse(quoted(line) + " gives no number of n-grams up to " + std::to_string(kMaxGrams));
    }
    counts_.push_back(*value);
  }

  /// `\2-grams:` or `\end\`
  void read_section(std::string_view line) {
    if (counts_.empty()) refuse("\\data\\ gives no counts");
    if (part_ == Part::kGrams) end_section();
    part_ = Part::kGrams;
    const bool is_last = order_ == counts_.size();
    std::string wanted = "\\end\\";
    if (!is_last) wanted.assign(1, '\\').append(std::to_string(order_ + 1)).append("-grams:");
    if (line != wanted) refuse(quoted(wanted) + " was expected, not " + quoted(line));
    if (is_last) {
      part_ = Part::kDone;
      return;
    }
    ++order_;
    seen_ = 0;
    builder_.begin_order();
  }

  void end_section() {
    if (seen_ != counts_[order_ - 1]) refuse(miscounted("only " + std::to_string(seen_)));
    builder_.end_order();
  }

  std::string miscounted(const std::string& there) const {
    return "there are " + there + " " + std::to_string(order_) + "-grams, \\data\\ says " +
           std::to_string(counts_[order_ - 1]);
  }

  void read_gram(std::string_view line) {
    if (++seen_ > counts_[order_ - 1]) refuse(miscounted("more"));
    const Fields fields = fields_of(line);
    if (fields.count != order_ + 1 && fields.count != order_ + 2) {
      refuse("a probability, " + std::to_string(order_) +
             " words and perhaps a back-off weight were expected, not " + quoted(line));
    }
    const float score = score_of(fields.items[0]);
    const bool has_backoff = fields.count == order_ + 2;
    const float backoff = has_backoff ? backoff_of(fields.items[order_ + 1]) : 0.0F;
    if (backoff != 0.0F && order_ == counts_.size()) {
      refuse("an n-gram of the highest order has a back-off weight");
    }
    if (order_ == 1) {
      builder_.add_unigram(fields.items[1], score, backoff);
    } else {
      builder_.add({fields.items.data() + 1, order_}, score, backoff);
    }
  }

  std::string unfinished() const {
    if (part_ == Part::kPreamble) return "there is no \\data\\: this is not an ARPA file";
    return "the file ends after line " + std::to_string(line_) + ", before \\end\\";
  }

  lm::Builder builder_;
  std::string partial_;  ///< Start of an incomplete line.
  std::size_t line_ = 0;
  Part part_ = Part::kPreamble;
  std::vector<std::uint64_t> counts_;
  std::size_t order_ = 0;
  std::uint64_t seen_ = 0;
};

ArpaReader::ArpaReader() : parser_(std::make_unique<Parser>()) {}
ArpaReader::~ArpaReader() = default;

void ArpaReader::read(std::string_view text) { parser_->read(text); }

std::unique_ptr<NgramImage> ArpaReader::finish() {
  auto image = parser_->finish();
  parser_ = std::make_unique<Parser>();
  return image;
}

}  // namespace mms
