// The words that a decoder may write: a closed vocabulary.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

/// A trie over tokens, flat: the children of a node lie side by side, sorted by token.
///
/// May be shared by any number of threads: nothing changes after construction.
class Lexicon {
 public:
  using Node = std::int32_t;
  static constexpr Node kNone = -1;

  /// `words` are sequences of tokens; a word may be there twice.
  ///
  /// Throws std::invalid_argument where there are no words, for a word without tokens, and for a
  /// negative token.
  explicit Lexicon(std::vector<std::vector<std::int32_t>> words);

  static constexpr Node root() { return 0; }
  /// The node after `token`, or kNone where no word goes on so. O(log children).
  Node next(Node node, std::int32_t token) const;
  /// Whether what leads to the node is a whole word.
  bool is_word(Node node) const { return is_word_[static_cast<std::size_t>(node)] != 0; }
  /// The greatest token of any word.
  std::int32_t max_token() const { return max_token_; }
  std::int64_t size() const { return static_cast<std::int64_t>(is_word_.size()); }

 private:
  std::vector<std::int32_t> tokens_;  ///< [nodes] the last token of each node.
  std::vector<Node> first_child_;     ///< [nodes + 1] children of node n are first[n]..first[n+1].
  std::vector<std::uint8_t> is_word_;
  std::int32_t max_token_ = 0;
};

}  // namespace mms
