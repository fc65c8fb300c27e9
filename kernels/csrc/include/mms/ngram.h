// Back-off n-gram models as deterministic automata, as in NGPU-LM (arXiv 2505.22857).
//
// A state is a context h with an n-gram h·w in the model, or with a back-off weight other than 0.
// State 0 is the empty context. With bo(h) the longest proper suffix of h that is a state,
//   log10 P(w | h) = p(h·w)                               if h·w is in the model,
//                  = backoff(h) + log10 P(w | bo(h))      otherwise, and p(w) in state 0;
// the next state is the longest suffix of h·w that is a state. Other suffixes have neither
// extensions nor weights, so leaving them out changes nothing, even in pruned models that lack
// suffixes. States are minimal: contexts with equal futures share one.
//
// The arcs of state 0 are dense, [vocab]; those of other states are adjacent, sorted by word, and
// found by binary search. A query visits at most order - 1 states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mms/hd.h"
#include "mms/lm.h"

namespace mms {

/// Transition of state 0 by the word of its index.
struct NgramUnigram {
  float score;  ///< log10.
  LmState next;
};

struct NgramArc {
  LmUnit word;
  float score;  ///< log10.
  LmState next;
};

struct NgramState {
  std::uint32_t first_arc;  ///< The arcs end where those of the next state begin.
  float backoff;            ///< log10.
  LmState backoff_state;    ///< Lower than the state itself.
};

/// The automaton as flat arrays that can be copied to a device. Not owned.
struct LmView {
  const NgramUnigram* unigrams;  ///< [vocab]
  const NgramState* states;      ///< [state_count + 1]; the last one is a sentinel.
  const NgramArc* arcs;          ///< [arc_count]
  std::uint32_t vocab;
  std::uint32_t state_count;
  std::uint32_t arc_count;
  LmState start;
  LmUnit unknown;
  LmUnit end;  ///< </s>

  /// `state` and `unit` must be of this model.
  MMS_HD LmStep score(LmState state, LmUnit unit) const {
    float total = 0.0F;
    while (state != 0) {
      const std::uint32_t end_arc = states[state + 1].first_arc;
      const std::uint32_t arc = find(states[state].first_arc, end_arc, unit);
      if (arc != end_arc) return {total + arcs[arc].score, arcs[arc].next};
      total += states[state].backoff;
      state = states[state].backoff_state;
    }
    return {total + unigrams[unit].score, unigrams[unit].next};
  }

  MMS_HD float finish(LmState state) const { return score(state, end).score; }

  /// Arc of `unit` in [begin, end), or `end`.
  MMS_HD std::uint32_t find(std::uint32_t begin, std::uint32_t end, LmUnit unit) const {
    std::uint32_t first = begin;
    std::uint32_t size = end - begin;
    while (size > 0) {
      const std::uint32_t half = size / 2;
      const bool is_right = arcs[first + half].word < unit;
      first = is_right ? first + half + 1 : first;
      size = is_right ? size - half - 1 : half;
    }
    return first != end && arcs[first].word == unit ? first : end;
  }
};

/// Words of a file, with a hash table (FNV-1a of the bytes, linear probing). Not owned.
struct WordsView {
  const std::uint32_t* slots;    ///< [slot_count], a power of two: id + 1, or 0 for none.
  const std::uint64_t* offsets;  ///< [words + 1] in `text`.
  const char* text;
  std::uint64_t slot_count;

  std::string_view word(LmUnit unit) const {
    return {text + offsets[unit], static_cast<std::size_t>(offsets[unit + 1] - offsets[unit])};
  }
  /// Id of a word, or `missing`.
  LmUnit find(std::string_view word, LmUnit missing) const;
};

/// Model in the compact format, memory-mapped or in memory. Thread-safe.
class NgramModel final : public LanguageModel {
 public:
  /// Map an open file, which may be closed afterwards. Models must be replaced as whole files:
  /// truncating a mapped file ends the process.
  ///
  /// Every part is checked, so that no query can leave the file. Throws std::invalid_argument that
  /// names the defect.
  explicit NgramModel(int file);
  /// Copy the content of a file. Throws std::invalid_argument as above.
  explicit NgramModel(std::span<const std::byte> content);
  ~NgramModel() override;

  LmState start() const override { return view_.start; }
  LmUnit unit(std::string_view text) const override { return words_.find(text, view_.unknown); }
  /// False for <unk> itself.
  bool knows(std::string_view text) const override { return unit(text) != view_.unknown; }
  LmStep score(LmState state, LmUnit unit) const override { return view_.score(state, unit); }
  float finish(LmState state) const override { return view_.finish(state); }

  std::uint32_t order() const { return order_; }
  std::uint64_t bytes() const { return content_.size(); }
  const LmView& view() const { return view_; }
  const WordsView& words() const { return words_; }

  NgramModel(const NgramModel&) = delete;
  NgramModel& operator=(const NgramModel&) = delete;

 private:
  void read();

  std::vector<std::uint64_t> owned_;  ///< 8-byte elements, for the alignment.
  std::span<const std::byte> content_;
  LmView view_{};
  WordsView words_{};
  std::uint32_t order_ = 0;
  bool is_mapped_ = false;
};

}  // namespace mms
