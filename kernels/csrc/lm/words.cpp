#include "words.h"

#include "format.h"

namespace mms {

LmUnit WordsView::find(std::string_view word, LmUnit missing) const {
  const std::uint64_t mask = slot_count - 1;
  for (std::uint64_t slot = lm::hash_of(word) & mask; slots[slot] != 0; slot = (slot + 1) & mask) {
    const LmUnit unit = slots[slot] - 1;
    if (this->word(unit) == word) return unit;
  }
  return missing;
}

namespace lm {

std::pair<LmUnit, bool> Words::add(std::string_view word) {
  const LmUnit known = find(word);
  if (known != kMissing) return {known, false};
  const LmUnit unit = size();
  text.insert(text.end(), word.begin(), word.end());
  offsets.push_back(text.size());
  if (2 * offsets.size() > slots.size()) {
    slots.assign(2 * slots.size(), 0);
    for (LmUnit each = 0; each < unit; ++each) place(each);
  }
  place(unit);
  return {unit, true};
}

void Words::place(LmUnit unit) {
  const std::uint64_t mask = slots.size() - 1;
  std::uint64_t slot = hash_of(view().word(unit)) & mask;
  while (slots[slot] != 0) slot = (slot + 1) & mask;
  slots[slot] = unit + 1;
}

}  // namespace lm
}  // namespace mms
