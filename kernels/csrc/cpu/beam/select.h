// Selection of the best candidates in the beam's total order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mms {

/// Candidate for the next beam.
struct Candidate {
  double score;
  std::int32_t rank;   ///< Rank of the kept or extended prefix in the current beam.
  std::int32_t token;  ///< Extending token; -1 for a kept prefix.
};

/// Total order of candidates: score, then rank, then token.
inline bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.rank != b.rank) return a.rank < b.rank;
  return a.token < b.token;
}

/// Collects candidates and selects the best. Memory is reused.
class Selection {
 public:
  /// Clear, and reserve room for `size` candidates.
  void reset(std::size_t size);
  void add(const Candidate& candidate) { candidates_[size_++] = candidate; }
  /// Add if `wanted`, without a branch; needs room for one more in any case.
  void add_if(bool wanted, const Candidate& candidate) {
    candidates_[size_] = candidate;
    size_ += wanted ? 1 : 0;
  }
  /// Direct access for many candidates: the write position, and the position after writing.
  Candidate* room() { return candidates_.data() + size_; }
  void fill(const Candidate* end) { size_ = static_cast<std::size_t>(end - candidates_.data()); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Return a score that the `count` best candidates so far reach, so that lower ones need not be
  /// added; `low` if there are fewer. Scores are at least `low`, and few are above `high`.
  double raise(double low, double high, std::size_t count);

  /// Sort the `count` best candidates into `best()`.
  void select(std::size_t count);
  const std::vector<Candidate>& best() const { return best_; }

 private:
  struct Scores {
    double low;
    double high;
  };

  Scores range() const;
  void open_buckets(Scores range, std::size_t count);
  void count_buckets();
  std::size_t spread(std::size_t count);

  std::vector<Candidate> candidates_;
  std::size_t size_ = 0;
  std::vector<Candidate> best_;
  Scores range_{};
  double scale_ = 0.0;       ///< Buckets per nat.
  std::size_t counted_ = 0;  ///< Candidates assigned to buckets.
  std::vector<std::uint32_t> bucket_of_;
  std::vector<std::uint32_t> ends_;  ///< [buckets] size of each, then its end.
};

}  // namespace mms
