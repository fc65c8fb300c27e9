#include "queue.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "simulator.h"

namespace cudasim {
namespace {

constexpr std::size_t kLongestQueue = 1024;  // a driver's queues are bounded as well

bool runnable(const Operation& operation) {
  return operation.state == Operation::State::kWaiting &&
         std::all_of(operation.after.begin(), operation.after.end(), [](const OperationPtr& other) {
           return other->done();
         });
}

std::unordered_set<const Operation*> needed_for(const OperationPtr& target) {
  std::unordered_set<const Operation*> needed{target.get()};
  std::vector<const Operation*> open{target.get()};
  while (!open.empty()) {
    const Operation* operation = open.back();
    open.pop_back();
    for (const OperationPtr& other : operation->after) {
      if (!other->done() && needed.insert(other.get()).second) open.push_back(other.get());
    }
  }
  return needed;
}

bool meet(const Operation& a, const Operation& b) {
  for (const Access& one : a.work.accesses) {
    for (const Access& other : b.work.accesses) {
      if (one.conflicts(other)) return true;
    }
  }
  return false;
}

}  // namespace

void Queue::order(std::uint64_t seed, bool slow_copies) {
  seed_ = seed;
  slow_copies_ = slow_copies;
  random_.seed(seed);
}

OperationPtr Queue::add(Work work,
                        std::shared_ptr<Context> context,
                        std::vector<OperationPtr> after) {
  std::erase_if(after, [](const OperationPtr& other) { return !other || other->done(); });
  auto operation = std::make_shared<Operation>();
  operation->work = std::move(work);
  operation->context = std::move(context);
  operation->after = std::move(after);
  report_races(operation);
  pending_.push_back(operation);
  if (pending_.size() > kLongestQueue) finish(pending_.front());
  return operation;
}

void Queue::report_races(const OperationPtr& operation) const {
  if (operation->work.accesses.empty()) return;
  for (const OperationPtr& other : pending_) {
    if (!meet(*operation, *other) || needed_for(operation).count(other.get()) != 0) continue;
    simulator().faults.add("race: " + operation->work.name + " and " + other->work.name +
                           " touch the same memory, one of them writes, and nothing orders them");
  }
}

std::vector<OperationPtr> Queue::ready(const OperationPtr& target) const {
  std::vector<OperationPtr> found;
  const auto needed = target ? needed_for(target) : std::unordered_set<const Operation*>{};
  for (const OperationPtr& operation : pending_) {
    if (target && needed.count(operation.get()) == 0) continue;
    if (runnable(*operation)) found.push_back(operation);
  }
  return found;
}

OperationPtr Queue::choose(const std::vector<OperationPtr>& ready) {
  std::vector<OperationPtr> fast;
  if (slow_copies_) {
    std::copy_if(ready.begin(), ready.end(), std::back_inserter(fast), [](const auto& operation) {
      return !operation->work.is_copy;
    });
  }
  const auto& candidates = fast.empty() ? ready : fast;
  return candidates[seeded() ? random_() % candidates.size() : 0];
}

void Queue::step(const OperationPtr& target, bool only_needed) {
  const auto candidates = ready(only_needed ? target : nullptr);
  if (candidates.empty()) {
    // Other threads run the operations before.
    simulator().wait_for_change();
    return;
  }
  run(choose(candidates));
}

void Queue::finish(const OperationPtr& target) {
  if (!target) return;
  const bool only_needed = !seeded() ? !slow_copies_ : random_() % 2 == 0;
  while (!target->done()) step(target, only_needed);
}

void Queue::finish(const Context& context) {
  for (;;) {
    const auto found = std::find_if(pending_.begin(), pending_.end(), [&](const auto& operation) {
      return operation->context.get() == &context;
    });
    if (found == pending_.end()) return;
    finish(OperationPtr(*found));
  }
}

bool Queue::poll(const OperationPtr& target) {
  if (!target || target->done()) return true;
  if (const auto candidates = ready(target); !candidates.empty()) run(choose(candidates));
  return target->done();
}

void Queue::run_ahead() {
  if (!seeded()) return;
  while (random_() % 4 == 0) {
    const auto candidates = ready(nullptr);
    if (candidates.empty()) return;
    run(choose(candidates));
  }
}

void Queue::run(const OperationPtr& operation) {
  operation->state = Operation::State::kRunning;
  if (operation->context->sticky == code::kSuccess && operation->work.run) {
    Simulator& simulated = simulator();
    simulated.leave();
    Result failure = code::kSuccess;
    std::string text;
    try {
      operation->work.run();
    } catch (const Error& error) {
      failure = error.code();
      text = error.what();
    } catch (const std::exception& error) {
      failure = code::kLaunchFailed;
      text = error.what();
    }
    simulated.enter();
    if (failure != code::kSuccess) {
      operation->context->sticky = failure == code::kInvalidValue ? code::kIllegalAddress : failure;
      simulated.faults.add(operation->work.name + ": " + text);
    }
  }
  operation->state = Operation::State::kDone;
  operation->work.run = nullptr;
  operation->after.clear();
  pending_.remove(operation);
  simulator().changed.notify_all();
}

}  // namespace cudasim
