// Work in flight: operations that wait for others, run late and in any order that these permit.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "declarations.h"

namespace cudasim {

struct Context;

/// Memory that an operation reads or writes.
struct Access {
  std::uint64_t address = 0;
  std::size_t bytes = 0;
  bool writes = false;

  bool conflicts(const Access& other) const {
    return (writes || other.writes) && address < other.address + other.bytes &&
           other.address < address + bytes;
  }
};

/// Work of one call.
struct Work {
  std::string name;
  std::function<void()> run;
  bool is_copy = false;
  std::vector<Access> accesses = {};  ///< The known ones.
};

/// Work that was enqueued.
struct Operation {
  enum class State : std::uint8_t { kWaiting, kRunning, kDone };

  Work work;
  std::shared_ptr<Context> context;
  std::vector<std::shared_ptr<Operation>> after;  ///< Operations that must be done before.
  State state = State::kWaiting;

  bool done() const { return state == State::kDone; }
};
using OperationPtr = std::shared_ptr<Operation>;

/// Operations that are not done. They run in the threads that call the driver: when one waits or
/// queries, and with a seed also when one enqueues more. Callers hold the simulator's lock, which
/// is released while an operation runs.
///
/// Two unordered operations that touch the same memory, one of them writing, are a fault when the
/// second is enqueued, whatever the order in which they run. (With a seed the first may have run by
/// then, and is not seen.)
class Queue {
 public:
  /// Order of operations from now on: that of the calls for seed 0, else random; slow copies run
  /// only when nothing else can.
  void order(std::uint64_t seed, bool slow_copies);

  OperationPtr add(Work work, std::shared_ptr<Context> context, std::vector<OperationPtr> after);
  /// Run the operations before `target`, and with a seed perhaps more, until it is done.
  void finish(const OperationPtr& target);
  /// Run all operations of a context.
  void finish(const Context& context);
  /// Make a little progress towards `target`; returns whether it is done.
  bool poll(const OperationPtr& target);
  /// With a seed, run some operations ahead of the host.
  void run_ahead();
  std::size_t size() const { return pending_.size(); }
  std::mt19937_64& random() { return random_; }
  bool seeded() const { return seed_ != 0; }

 private:
  std::vector<OperationPtr> ready(const OperationPtr& target) const;
  OperationPtr choose(const std::vector<OperationPtr>& ready);
  void report_races(const OperationPtr& operation) const;
  void step(const OperationPtr& target, bool only_needed);
  void run(const OperationPtr& operation);

  std::list<OperationPtr> pending_;
  std::mt19937_64 random_;
  std::uint64_t seed_ = 0;
  bool slow_copies_ = false;
};

}  // namespace cudasim
