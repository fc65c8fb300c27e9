// Conversion of ARPA text to the compact format of mms/ngram.h.
//
// Accepted: up to 1,000 lines before \data\; fields separated by tabs or spaces; LF or CRLF; a byte
// order mark; a missing back-off weight (0); -inf (-99); a number below -1000 (-1000); <UNK> for
// <unk>. A model without <unk> gets one of log10 probability -100. N-grams of an order may come in
// any sequence and may lack suffixes that were pruned; their contexts (without the last word) must
// be there. Of an n-gram given several times the first entry counts, of <unk> the last, as in
// KenLM.
//
// Refused, with the line number: NaN, +inf, a number above 1000, a positive log10 probability, a
// back-off weight in the highest order, a word in an n-gram that is no 1-gram, an n-gram without
// its context, a section that does not have as many lines as \data\ says, a file that ends before
// \end\, and a model without <s> or </s>.
//
// Memory grows with the lines, not with the counts of the header: about 45 bytes per n-gram during
// the conversion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace mms {

constexpr std::size_t kMaxOrder = 32;
constexpr std::size_t kMaxLine = std::size_t{1} << 16U;
constexpr float kMaxLog10 = 1000.0F;

/// Content of a compact file, in pieces.
class NgramImage {
 public:
  virtual ~NgramImage() = default;
  virtual std::vector<std::span<const std::byte>> pieces() const = 0;
  /// Entries of n-grams given several times that do not count.
  virtual std::uint64_t dropped() const = 0;
};

class NgramModel;

/// Return a model with other words. N-grams that become equal are merged: the most probable one
/// counts, with its back-off weight.
///
/// `words` holds the new word of each unit, each followed by LF. Throws std::invalid_argument if it
/// has another number of words.
std::unique_ptr<NgramImage> renamed(const NgramModel& model, std::string_view words);

class ArpaReader {
 public:
  ArpaReader();
  ~ArpaReader();
  ArpaReader(const ArpaReader&) = delete;
  ArpaReader& operator=(const ArpaReader&) = delete;

  /// Read the next piece of the text, of any size.
  ///
  /// Throws std::invalid_argument, after which the reader is unusable.
  void read(std::string_view text);
  /// Return the model and reset the reader. Throws std::invalid_argument.
  std::unique_ptr<NgramImage> finish();

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace mms
