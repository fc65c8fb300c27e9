// State of a search over a lexicon.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "mms/lexicon.h"

namespace mms {

/// Sequences of words, as a tree: equal sequences are one node.
class Histories {
 public:
  using Id = std::int32_t;
  static constexpr Id kRoot = 0;

  struct Node {
    Id parent;
    std::int32_t word;  ///< -1 for the root.
    std::int64_t depth;
    LmState lm;
    double lm_score;  ///< log10, of all words.
    double gain;      ///< Addition to ln P in the score.
  };

  explicit Histories(const LexiconDecoder& decoder);

  const Node& operator[](Id id) const { return nodes_[static_cast<std::size_t>(id)]; }
  /// Sequence `parent` with one more word.
  Id extend(const LexiconDecoder& decoder, Id parent, std::int32_t word);
  std::size_t size() const { return nodes_.size(); }
  /// Remove all sequences but those marked and their beginnings; returns the new number of each.
  std::vector<Id> compact(std::vector<bool> marked);

 private:
  static std::uint64_t key_of(Id parent, std::int32_t word) {
    return static_cast<std::uint64_t>(parent) << 32U | static_cast<std::uint32_t>(word);
  }

  std::vector<Node> nodes_;
  std::unordered_map<std::uint64_t, Id> ids_;
};

/// Frames and log-probabilities of a word's letters on a path.
struct WordSpan {
  std::int64_t start = 0;
  std::int64_t end = 0;
  double sum = 0.0;
  double peak = 0.0;
  std::int64_t frames = 0;
};

struct LexiconHyp {
  double score;
  double log_prob;
  Histories::Id history;
  Lexicon::Node node;
  std::int32_t token;  ///< Last token; the blank if the last frame is blank.
  std::int32_t times;  ///< Last complete word in `LexiconState::times`; -1 for none.
  WordSpan open;       ///< Letters of the word that is not complete.
};

/// Continuation of a hypothesis by one frame.
struct LexiconCandidate {
  double score;
  double log_prob;
  double path;  ///< ln P of the better path among those that were joined.
  Histories::Id history;
  Lexicon::Node node;
  std::int32_t token;
  std::int32_t from;  ///< Rank of the continued hypothesis.
  bool ends_word;
};

struct LexiconState {
  explicit LexiconState(const LexiconDecoder& decoder);

  /// Times of a word and of those before it.
  struct Time {
    std::int32_t previous;
    WordSpan span;
  };

  std::int64_t vocab = 0;  ///< 0 before the first step.
  std::int64_t frame = 0;
  Histories histories;
  std::vector<Time> times;
  std::vector<LexiconHyp> beam;  ///< Best first.
  std::size_t next_compact = 0;  ///< Nodes at which unused ones are removed.

  // Scratch of one frame.
  std::vector<float> log_probs;
  std::vector<LexiconCandidate> candidates;
  std::vector<std::uint32_t> table;  ///< Hash table of candidates: position + 1, 0 if empty.
  std::vector<LexiconHyp> next;
};

/// Read one frame of log-probabilities, [vocab].
void lexicon_advance(LexiconState& state, const LexiconDecoder& decoder, const float* log_probs);

/// Remove word sequences and times that no hypothesis needs, if there are many.
void lexicon_compact(LexiconState& state);

}  // namespace mms
