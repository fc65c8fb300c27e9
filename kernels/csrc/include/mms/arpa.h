// From ARPA text to the compact format of mms/ngram.h.
//
// What is taken: any text before \data\ (1,000 lines at most); fields parted by tabs or spaces; LF
// or CRLF; a byte order mark; a missing back-off weight, which is 0; -inf, which is -99; <UNK> for
// <unk>. A model without <unk> gets one of log10 probability -100, as in KenLM. N-grams of an
// order may come in any sequence, and may lack the suffixes that pruning took (their contexts, the
// n-grams without the last word, have to be there).
//
// What is refused, with the number of the line: NaN, +inf, a number beyond -1000 or 1000, a
// positive log10 probability, a back-off weight in the highest order, a word in an n-gram that is
// no 1-gram, an n-gram without its context or given twice, a section that does not have as many
// lines as \data\ says, a file that ends before \end\, and a model without <s> or </s>.
//
// Memory grows with the lines that are there, never with what the header says: about 45 bytes an
// n-gram while a model is converted.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace mms {

constexpr std::size_t kMaxOrder = 32;
constexpr std::size_t kMaxLine = std::size_t{1} << 16U;
constexpr float kMaxLog10 = 1000.0F;

/// The content of a file in the compact format, in the pieces it is made of.
class NgramImage {
 public:
  virtual ~NgramImage() = default;
  virtual std::vector<std::span<const std::byte>> pieces() const = 0;
};

class ArpaReader {
 public:
  ArpaReader();
  ~ArpaReader();
  ArpaReader(const ArpaReader&) = delete;
  ArpaReader& operator=(const ArpaReader&) = delete;

  /// Read the next piece of the text; it may be cut anywhere.
  ///
  /// Throws std::invalid_argument, after which the reader is of no more use.
  void read(std::string_view text);
  /// Return the model; the reader is then empty. Throws std::invalid_argument.
  std::unique_ptr<NgramImage> finish();

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace mms
