// State of the double (contexts and their resources) and the frame of every call.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "declarations.h"
#include "faults.h"
#include "memory.h"
#include "queue.h"

namespace cudasim {

struct Context {
  Handle handle = 0;
  bool destroyed = false;
  Result sticky = code::kSuccess;  ///< Error that every later call returns.
};

/// Thread-local capture of one stream; waiting for other streams in it is refused.
struct Capture {
  std::thread::id thread;
  bool invalidated = false;
  std::vector<Work> nodes;
};

struct Stream {
  std::shared_ptr<Context> context;
  OperationPtr last;
  std::shared_ptr<Capture> capture;
};

struct Event {
  std::shared_ptr<Context> context;
  OperationPtr recorded;
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

struct Graph {
  std::vector<Work> nodes;
};

struct GraphExec {
  std::shared_ptr<Context> context;
  std::vector<Work> nodes;
  OperationPtr last;  ///< Launches of one executable graph follow each other.
};

/// Objects by handle. Handles are never reused, so that a stale one is always detected.
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
  void init();
  bool ready() const { return ready_; }
  Handle next_handle() { return ++last_handle_ << 4U; }

  /// Take the lock around every call. A thread that waits releases Python's interpreter.
  void enter();
  void leave() { mutex_.unlock(); }
  void wait_for_change();
  std::condition_variable changed;

  std::shared_ptr<Context> create_context();
  void destroy_context(const std::shared_ptr<Context>& context);
  /// Throws Error(kInvalidContext) without one.
  std::shared_ptr<Context> current() const;
  /// Resources left in a context (or in all, for 0), one line per kind or allocation.
  std::vector<std::string> leaks(Handle context) const;

  /// Stream of a handle in the current context; the default stream for kNullStream.
  std::shared_ptr<Stream> stream(Handle handle);
  /// Queue work on a stream, or capture it and return null.
  OperationPtr enqueue(Stream& stream, Work work, std::vector<OperationPtr> after = {});
  /// Throws Error while this thread captures: the call is unsafe then.
  void forbid_in_capture();

  FaultLog faults;
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
  int primary_users = 0;
  unsigned primary_flags = 0;
  bool integrated = false;  ///< Whether the device shares the memory of the system.

 private:
  std::mutex mutex_;
  bool ready_ = false;
  Handle last_handle_ = 0x1000;
  std::map<Handle, std::shared_ptr<Stream>> default_streams_;  // by context
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

/// Current contexts of this thread, the last one on top.
std::vector<std::shared_ptr<Context>>& context_stack();

/// Whether this thread is in a function of cudasim_enqueue, which may not call the driver.
bool& in_host_function();

/// Throw Error if a stream captures, and invalidate the capture.
void refuse_in_capture(Stream& stream, Result code, const char* text);

template <typename T>
Handle Table<T>::add(std::shared_ptr<T> object) {
  const Handle handle = simulator().next_handle();
  live_[handle] = std::move(object);
  return handle;
}

/// Throw Error unless an object is of the current context.
template <typename T>
void require_current(const T& object, const char* kind) {
  if (object.context != simulator().current()) {
    throw Error(code::kInvalidContext, std::string("the ") + kind + " is of another context");
  }
}

enum class Needs { kNothing, kInit, kContext };

/// Frame of every call of the driver: errors become codes, faults lines of the log.
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

/// Body of the functions that pycuda links against and the double does not simulate.
Result not_simulated(const char* name);

}  // namespace cudasim
