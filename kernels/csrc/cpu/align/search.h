// Search for the best path through a lattice, according to a plan.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lattice.h"
#include "mms/align.h"
#include "plan.h"

namespace mms {

class AlignSearch {
 public:
  /// The arguments are not copied.
  AlignSearch(const AlignLabels& labels,
              AlignEmissions& emissions,
              std::int64_t frames,
              const AlignPlan& plan);

  /// Find the best path within the band; false if a path outside might be as good.
  bool run(const AlignBand& band);

  /// Return the path found, once.
  Alignment take_result();

 private:
  /// Rows saved at one level of the plan.
  struct Level {
    std::int64_t interval;
    std::int64_t row_doubles;
    std::unique_ptr<double[]> room;
    std::vector<SavedRow> rows;  ///< The first is the initial row of the level.
  };

  bool solve(std::size_t depth, const SavedRow& start, const AlignGoal& goal);
  bool choose_end(const ExitBound* exits);
  void walk(std::int64_t begin, std::int64_t end);
  void visit(std::int64_t frame, const float* columns);

  const AlignLabels& labels_;
  AlignEmissions& emissions_;
  const std::int64_t frames_;
  Lattice lattice_;
  AlignChoices choices_;
  std::vector<Level> levels_;
  const AlignBand* band_ = nullptr;
  /// State of the path in the next frame, going backwards.
  std::int64_t pair_ = 0;
  bool in_label_ = false;
  double score_ = 0.0;
  std::vector<std::int64_t> starts_;
  std::vector<std::int64_t> ends_;
  std::vector<double> sums_;
};

}  // namespace mms
