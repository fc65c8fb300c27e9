// The best of many candidates, in the beam's total order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mms {

/// A hypothesis that may be in the next beam.
struct Candidate {
  double score;
  std::int32_t rank;   ///< Of the prefix that stays or is extended, in the beam before.
  std::int32_t token;  ///< That extends it; -1 where it stays.
};

/// The order of hypotheses: score, then rank, then token. No two are equal.
inline bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.rank != b.rank) return a.rank < b.rank;
  return a.token < b.token;
}

/// Candidates are written one after another and then selected. Memory is kept.
class Selection {
 public:
  /// Start over, with room for `size` candidates.
  void reset(std::size_t size);
  void add(const Candidate& candidate) { candidates_[size_++] = candidate; }
  /// Add where `wanted`; there must be room for one more in any case.
  void add_if(bool wanted, const Candidate& candidate) {
    candidates_[size_] = candidate;
    size_ += wanted ? 1 : 0;
  }
  /// The same for many: where the next one goes, and, when they are written, where that is then.
  Candidate* room() { return candidates_.data() + size_; }
  void fill(const Candidate* end) { size_ = static_cast<std::size_t>(end - candidates_.data()); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// A score that the `count` best of those added reach, where there are so many: what comes below
  /// it need not be added. All of them are at least `low`, and few above `high`.
  double raise(double low, double high, std::size_t count);

  /// Sort the `count` best of those added; `best()` holds them.
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
  void sort_buckets(std::size_t count);

  std::vector<Candidate> candidates_;
  std::size_t size_ = 0;
  std::vector<Candidate> best_;
  Scores range_{};
  double scale_ = 0.0;       ///< Buckets a nat.
  std::size_t counted_ = 0;  ///< Candidates that have a bucket.
  std::vector<std::uint32_t> bucket_of_;
  std::vector<std::uint32_t> ends_;  ///< Of each bucket: first its size, then where it ends.
};

}  // namespace mms
