// The state of the double: contexts and what belongs to them, and the way into every call.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "declarations.h"
#include "faults.h"
#include "graph.h"
#include "memory.h"
#include "queue.h"

namespace cudasim {

struct Context {
  Handle handle = 0;
  unsigned flags = 0;
  bool primary = false;
  int users = 1;
  bool destroyed = false;
  Result sticky = code::kSuccess;     ///< An error that every later call answers.
  OperationPtr last_legacy;           ///< Of the default stream.
  std::vector<OperationPtr> orphans;  ///< Of blocking streams that were destroyed before.
};

struct Stream {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  int priority = 0;
  OperationPtr last;
  std::shared_ptr<Capture> capture;
  std::vector<std::size_t> frontier;  ///< Nodes that the next captured one comes after.

  bool blocking() const { return (flags & kStreamNonBlocking) == 0; }
};

struct Event {
  std::shared_ptr<Context> context;
  unsigned flags = 0;
  OperationPtr recorded;
  std::shared_ptr<Capture> capture;  ///< When it was last recorded by a stream that captures.
  std::vector<std::size_t> nodes;
};

struct Module {
  std::shared_ptr<Context> context;
};

struct Function {
  std::shared_ptr<Context> context;
  Handle module = 0;
  std::string name;
  std::size_t dynamic_shared_limit = 48U << 10U;
};

/// Objects by handle. Handles are not used again, so that a stale one is always found out.
template <typename T>
class Table {
 public:
  explicit Table(const char* kind) : kind_(kind) {}

  Handle add(std::shared_ptr<T> object);
  std::shared_ptr<T> at(Handle handle) const {
    const auto found = live_.find(handle);
    if (found != live_.end()) return found->second;
    throw Error(
        code::kInvalidHandle,
        hex(handle) + (gone_.count(handle) != 0 ? " was destroyed: " : " is not a ") + kind_);
  }
  void remove(Handle handle) {
    at(handle);
    live_.erase(handle);
    gone_.insert(handle);
    if (gone_.size() > 4096) gone_.erase(gone_.begin());
  }
  const std::map<Handle, std::shared_ptr<T>>& live() const { return live_; }

 private:
  const char* kind_;
  std::map<Handle, std::shared_ptr<T>> live_;
  std::set<Handle> gone_;
};

class Simulator {
 public:
  Simulator() : settings(Settings::from_environment()) {}

  void init();
  bool ready() const { return ready_; }
  Handle next_handle() { return ++last_handle_ << 4U; }

  /// The lock around every call. A thread that waits does not keep Python's interpreter.
  void enter();
  void leave() { mutex_.unlock(); }
  void wait_for_change();
  std::condition_variable changed;

  /// Around a kernel: let it at the device's memory. Takes the lock.
  void open_memory();
  void shut_memory();

  std::shared_ptr<Context> create_context(unsigned flags, bool primary);
  void destroy_context(const std::shared_ptr<Context>& context);
  /// Throws Error(kInvalidContext) without one.
  std::shared_ptr<Context> current() const;
  /// What is left of a context (or of all), a line each.
  std::vector<std::string> leaks(Handle context) const;

  /// The stream of a handle; the default stream for kNullStream.
  std::shared_ptr<Stream> stream(Handle handle);
  /// Order work on a stream: queue it, or capture it.
  OperationPtr enqueue(Stream& stream, Work work, std::vector<OperationPtr> after = {});
  /// Throws Error when a capture is on that forbids a call as unsafe.
  void forbid_in_capture();
  void invalidate_captures();

  FaultLog faults;
  Settings settings;
  Injections injections;
  DeviceMemory memory;
  HostMemory host;
  Queue queue;
  Table<Context> contexts{"context"};
  Table<Stream> streams{"stream"};
  Table<Event> events{"event"};
  Table<Module> modules{"module"};
  Table<Function> functions{"function"};
  Table<Graph> graphs{"graph"};
  Table<GraphExec> graph_execs{"executable graph"};
  std::shared_ptr<Context> primary;
  unsigned primary_flags = 0;
  int primary_users = 0;

 private:
  std::vector<OperationPtr> order_of(const Stream& stream) const;

  std::mutex mutex_;
  bool ready_ = false;
  Handle last_handle_ = 0x1000;
  std::map<Handle, std::shared_ptr<Stream>> legacy_;  // by context
};

/// The one simulator; it is never destroyed, as calls come until the process ends.
Simulator& simulator();

/// Holds the simulator's lock while it lives.
class Entered {
 public:
  Entered() { simulator().enter(); }
  ~Entered() { simulator().leave(); }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
};

/// The contexts that are current in this thread, the last one on top.
std::vector<std::shared_ptr<Context>>& context_stack();

/// True in a function that cuLaunchHostFunc runs.
bool& in_host_function();

template <typename T>
Handle Table<T>::add(std::shared_ptr<T> object) {
  const Handle handle = simulator().next_handle();
  live_[handle] = std::move(object);
  return handle;
}

/// Check that an object is of the current context.
template <typename T>
void require_current(const T& object, const char* kind) {
  if (object.context != simulator().current()) {
    throw Error(code::kInvalidContext, std::string("the ") + kind + " is of another context");
  }
}

/// Bytes of dynamic shared memory that a kernel may ask for.
int shared_opt_in(int capability);

enum class Needs { kNothing, kInit, kContext };

/// The frame of every call of the driver: its errors become codes, its faults lines of the log.
template <typename Body>
Result call(const char* name, Needs needs, const Body& body) {
  Simulator& simulated = simulator();
  simulated.enter();
  Result result = code::kSuccess;
  try {
    if (in_host_function()) {
      throw Error(code::kNotPermitted, "called by a host function of a stream");
    }
    result = simulated.injections.next(name);
    if (result == code::kSuccess && needs != Needs::kNothing && !simulated.ready()) {
      throw Error(code::kNotInitialized, "before cuInit");
    }
    if (result == code::kSuccess && needs == Needs::kContext) {
      result = simulated.current()->sticky;
    }
    if (result == code::kSuccess) body(simulated);
    if (result == code::kSuccess && needs == Needs::kContext && !context_stack().empty()) {
      result = simulated.current()->sticky;
    }
  } catch (const Error& error) {
    result = error.code();
    if (*error.what() != '\0') simulated.faults.add(std::string(name) + ": " + error.what());
  }
  simulated.leave();
  return result;
}

template <typename Body>
Result call(const char* name, const Body& body) {
  return call(name, Needs::kContext, body);
}

}  // namespace cudasim
