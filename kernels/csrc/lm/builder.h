// Builder: n-grams to automaton.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "mms/arpa.h"
#include "words.h"

namespace mms::lm {

/// Entry that counts when an n-gram is given several times.
enum class Repeated : std::uint8_t {
  kAsKenlm,  ///< The first one; of <unk> the last one.
  kBest,     ///< The most probable one.
};

/// Collects n-grams order by order in a tree, in which the context is the parent.
///
/// Throws std::invalid_argument for an invalid model.
class Builder {
 public:
  explicit Builder(Repeated repeated = Repeated::kAsKenlm) : repeated_(repeated) {}
  /// Begin the next order.
  void begin_order() { orders_.emplace_back(); }
  void add_unigram(std::string_view word, float score, float backoff);
  /// The number of `words` is the order.
  void add(std::span<const std::string_view> words, float score, float backoff);
  void end_order();
  std::unique_ptr<NgramImage> finish();

 private:
  struct Gram {
    std::uint32_t parent;  ///< Index of the context among the n-grams of the order below.
    LmUnit word;
    float score;
    float backoff;
  };

  class Image;

  LmUnit unit_of(std::string_view word) const;
  std::uint32_t child(std::size_t order, std::uint32_t parent, LmUnit word) const;
  std::uint32_t context_of(std::span<const std::string_view> words);
  bool is_state(std::size_t order, std::size_t gram) const;
  void write_unigrams(Image& image) const;
  void write_order(Image& image, std::size_t order, LmState parents) const;

  Repeated repeated_;
  std::uint64_t dropped_ = 0;  ///< Entries of n-grams given several times that do not count.
  Words words_;
  LmUnit unknown_ = Words::kMissing;
  std::vector<std::vector<Gram>> orders_;          ///< N-grams of order n at n - 1.
  std::vector<std::vector<std::uint32_t>> first_;  ///< First n-gram of each context, in orders_[n].
  std::vector<LmUnit> path_units_;                 ///< Context of the latest n-gram.
  std::vector<std::uint32_t> path_;                ///< N-gram at each of its words.
};

}  // namespace mms::lm
