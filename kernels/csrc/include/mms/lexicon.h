// Lexicon: the closed vocabulary of a decoder.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

/// Flat trie over tokens: the children of a node are adjacent and sorted by token. Immutable and
/// thread-safe.
class Lexicon {
 public:
  using Node = std::int32_t;
  static constexpr Node kNone = -1;

  /// `words` are token sequences; duplicates are allowed.
  ///
  /// Throws std::invalid_argument for no words, a word without tokens, or a negative token.
  explicit Lexicon(std::vector<std::vector<std::int32_t>> words);

  static constexpr Node root() { return 0; }
  /// Node after `token`, or kNone. O(log children).
  Node next(Node node, std::int32_t token) const;
  /// True if a word ends at the node.
  bool is_word(Node node) const { return is_word_[static_cast<std::size_t>(node)] != 0; }
  /// Greatest token of any word.
  std::int32_t max_token() const { return max_token_; }
  std::int64_t size() const { return static_cast<std::int64_t>(is_word_.size()); }

 private:
  std::vector<std::int32_t> tokens_;  ///< [nodes] last token of each node.
  std::vector<Node> first_child_;     ///< [nodes + 1] children of node n are first[n]..first[n+1].
  std::vector<std::uint8_t> is_word_;
  std::int32_t max_token_ = 0;
};

}  // namespace mms
