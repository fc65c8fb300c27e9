#include "kenlm_model.h"

#include <stdexcept>

namespace nb = nanobind;

namespace {

constexpr std::size_t kRemembered = std::size_t{1} << 20U;

std::uint64_t key_of(mms::LmState state, mms::LmUnit unit) {
  return (std::uint64_t{state} << 32U) | unit;
}

}  // namespace

KenlmModel::KenlmModel(nb::object model, nb::object state_class)
    : model_(std::move(model)), state_class_(std::move(state_class)) {
  const nb::object empty = state_class_();
  model_.attr("NullContextWrite")(empty);
  intern(empty);
  const nb::object begin = state_class_();
  model_.attr("BeginSentenceWrite")(begin);
  start_ = intern(begin);
  spelled_ = {"<unk>", "</s>"};
  units_ = {{"<unk>", kUnknown}, {"</s>", kEnd}};
}

// The last owner may be a decoder thread without the GIL.
KenlmModel::~KenlmModel() {
  const nb::gil_scoped_acquire acquire;
  model_.reset();
  state_class_.reset();
  ids_.reset();
  states_.reset();
}

mms::LmUnit KenlmModel::unit(std::string_view text) const {
  const std::string word(text);
  {
    const std::lock_guard lock(mutex_);
    const auto found = units_.find(word);
    if (found != units_.end()) return found->second;
  }
  bool is_known = false;
  {
    const nb::gil_scoped_acquire acquire;
    const nb::str written(word.data(), word.size());
    is_known = nb::cast<bool>(model_.attr("__contains__")(written));
  }
  // Unknown words are not cached: there are infinitely many.
  return is_known ? add_unit(word) : kUnknown;
}

mms::LmUnit KenlmModel::add_unit(const std::string& word) const {
  const std::lock_guard lock(mutex_);
  const auto [entry, is_new] = units_.emplace(word, static_cast<mms::LmUnit>(spelled_.size()));
  if (is_new) spelled_.push_back(word);
  return entry->second;
}

void KenlmModel::alias(std::string_view text, std::string_view word) {
  const mms::LmUnit unit = add_unit(std::string(word));
  const std::lock_guard lock(mutex_);
  units_.emplace(text, unit);
}

mms::LmStep KenlmModel::score(mms::LmState state, mms::LmUnit unit) const {
  const std::uint64_t key = key_of(state, unit);
  std::string word;
  {
    const std::lock_guard lock(mutex_);
    const auto found = steps_.find(key);
    if (found != steps_.end()) return found->second;
    if (unit >= spelled_.size()) throw std::invalid_argument("unit is not of this model");
    word = spelled_[unit];
  }
  const mms::LmStep step = ask(state, word);
  const std::lock_guard lock(mutex_);
  if (steps_.size() >= kRemembered) steps_.clear();
  steps_.emplace(key, step);
  return step;
}

mms::LmStep KenlmModel::ask(mms::LmState state, const std::string& word) const {
  const nb::gil_scoped_acquire acquire;
  if (state >= states_.size()) throw std::invalid_argument("state is not of this model");
  const nb::object next = state_class_();
  const nb::str written(word.data(), word.size());
  const nb::object score = model_.attr("BaseScore")(states_[state], written, next);
  return {nb::cast<float>(score), intern(next)};
}

/// Id of a state; equal states share one. Requires the GIL.
mms::LmState KenlmModel::intern(const nb::object& state) const {
  if (ids_.contains(state)) return nb::cast<mms::LmState>(ids_[state]);
  const auto id = static_cast<mms::LmState>(states_.size());
  states_.append(state);
  ids_[state] = id;
  return id;
}
