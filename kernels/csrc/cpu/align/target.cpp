#include "target.h"

#include <stdexcept>
#include <string>

namespace mms {
namespace {

[[noreturn]] void refuse(std::int64_t index, std::int64_t token, const std::string& why) {
  throw std::invalid_argument("token " + std::to_string(index) + " of the target is " +
                              std::to_string(token) + ", " + why);
}

void check_token(std::int64_t index,
                 std::int64_t token,
                 std::int64_t vocab,
                 const AlignOptions& options) {
  if (token == options.blank) refuse(index, token, "the blank: leave blanks out");
  if (token < 0) refuse(index, token, "which is no token, nor the star of this call");
  if (token >= vocab) {
    refuse(index, token, "the logits have only " + std::to_string(vocab) + " tokens");
  }
}

/// Column of each token, in order of first occurrence.
std::vector<std::int32_t> find_columns(const AlignTarget& target,
                                       std::int64_t vocab,
                                       const AlignOptions& options,
                                       std::vector<std::int64_t>& tokens) {
  std::vector<std::int32_t> column_of(static_cast<std::size_t>(vocab), kPadColumn);
  std::vector<std::int32_t> columns(static_cast<std::size_t>(target.size));
  for (std::int64_t i = 0; i < target.size; ++i) {
    const std::int64_t token = target.tokens[i];
    if (options.has_star && token == options.star) {
      columns[static_cast<std::size_t>(i)] = kStarColumn;
      continue;
    }
    check_token(i, token, vocab, options);
    std::int32_t& column = column_of[static_cast<std::size_t>(token)];
    if (column == kPadColumn) {
      column = kFirstColumn + static_cast<std::int32_t>(tokens.size());
      tokens.push_back(token);
    }
    columns[static_cast<std::size_t>(i)] = column;
  }
  return columns;
}

}  // namespace

std::int64_t AlignLabels::place(std::int64_t pair) const {
  const std::int64_t i = pair % kAlignPlaces;
  return pair - i + align_place(i, kernels.lanes);
}

bool AlignLabels::may_skip(std::int64_t pair) const {
  const std::int64_t at = place(pair);
  return (skips[static_cast<std::size_t>(at / kAlignPlaces)] >> (at % kAlignPlaces) & 1) != 0;
}

AlignLabels read_target(const AlignTarget& target,
                        std::int64_t vocab,
                        const AlignOptions& options) {
  AlignLabels labels{MMS_TABLE(kAlign)};
  labels.size = target.size;
  labels.tiles = target.size / kAlignPlaces + 1;
  labels.columns.resize(static_cast<std::size_t>(labels.tiles * kAlignPlaces), kPadColumn);
  labels.skips.resize(static_cast<std::size_t>(labels.tiles));
  const auto columns = find_columns(target, vocab, options, labels.tokens);
  for (std::int64_t pair = 0; pair < target.size; ++pair) {
    const auto i = static_cast<std::size_t>(pair);
    const std::int64_t at = labels.place(pair);
    labels.columns[static_cast<std::size_t>(at)] = columns[i];
    if (pair > 0 && columns[i] == columns[i - 1]) {
      ++labels.repeats;
    } else {
      labels.skips[static_cast<std::size_t>(at / kAlignPlaces)] |= std::uint32_t{1}
                                                                   << (at % kAlignPlaces);
    }
  }
  return labels;
}

}  // namespace mms
