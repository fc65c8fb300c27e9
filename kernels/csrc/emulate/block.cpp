#include "block.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace mms::emulate {
namespace {

thread_local Block* current_block = nullptr;

struct Stopped {};  // unwinds the other threads after a fault

std::string text_of(const Site& site) {
  const std::string path = site.file_name();
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(site.line());
}

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

}  // namespace

Block::Block(const Shape& shape, GlobalShadow& global)
    : shape_(shape), global_(global), random_(shape.seed) {
  if (shape.block.y != 1 || shape.block.z != 1 || shape.block.x == 0 || shape.block.x > 1024 ||
      shape.block.x % kWarp != 0) {
    throw Fault("a block must be 32, 64, ... or 1024 threads in x, got " +
                std::to_string(shape.block.x));
  }
  for (unsigned i = 0; i < shape.block.x; ++i) threads_.push_back(std::make_unique<Thread>());
}

Block& Block::current() { return *current_block; }

Moment Block::moment() const { return {number_, epoch_, warp_epochs_[running_ / kWarp], running_}; }

void Block::start() {
  static_.clear();
  dynamic_.clear();
  shadows_.clear();
  storage_.clear();
  epoch_ = 1;
  at_barrier_ = 0;
  flags_ = 0;
  warp_epochs_.assign(threads_.size() / kWarp, 1);
  ready_.resize(threads_.size());
  std::iota(ready_.rbegin(), ready_.rend(), 0U);
  for (auto& thread : threads_) {
    thread->body = [this] {
      try {
        (*kernel_)();
      } catch (const Stopped&) {
      } catch (...) {
        if (!error_) error_ = std::current_exception();
      }
    };
    thread->state = State::kReady;
    thread->fiber.prepare(thread->body);
  }
}

unsigned Block::choose() {
  if (shape_.seed != 0) std::swap(ready_[random_() % ready_.size()], ready_.back());
  const unsigned thread = ready_.back();
  ready_.pop_back();
  return thread;
}

void Block::run(Dim3 index, const std::function<void()>& kernel) {
  index_ = index;
  number_ = index.x + shape_.grid.x * (index.y + shape_.grid.y * index.z);
  kernel_ = &kernel;
  current_block = this;
  start();
  std::size_t left = threads_.size();
  while (left > 0 && !error_) {
    if (ready_.empty()) {
      try {
        diagnose();
      } catch (...) {
        error_ = std::current_exception();
      }
      break;
    }
    running_ = choose();
    Thread& thread = *threads_[running_];
    thread.fiber.resume();
    if (thread.fiber.done()) {
      thread.state = State::kDone;
      --left;
    }
  }
  if (error_) stop_all();
  current_block = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Block::stop_all() {
  stopping_ = true;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    running_ = i;
    if (!threads_[i]->fiber.done()) threads_[i]->fiber.resume();
  }
  stopping_ = false;
}

void Block::wait(State state, const Site& site) {
  Thread& thread = *threads_[running_];
  thread.state = state;
  thread.site = site;
  thread.fiber.pause();
  if (stopping_) throw Stopped();
}

int Block::barrier(bool flag, const Site& site) {
  if (stopping_) throw Stopped();
  if (at_barrier_ > 0 && !same_place(barrier_site_, site)) {
    throw Fault("threads wait at different barriers: " + text_of(barrier_site_) + " and " +
                text_of(site));
  }
  barrier_site_ = site;
  flags_ += flag ? 1 : 0;
  if (++at_barrier_ == threads_.size()) {
    release_barrier();
    return barrier_result_;
  }
  wait(State::kAtBarrier, site);
  return barrier_result_;
}

void Block::release_barrier() {
  barrier_result_ = flags_;
  flags_ = 0;
  at_barrier_ = 0;
  ++epoch_;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    if (i == running_) continue;
    threads_[i]->state = State::kReady;
    ready_.push_back(i);
  }
}

Lanes Block::exchange(const char* operation,
                      std::uint32_t mask,
                      std::uint64_t value,
                      const Site& site) {
  if (stopping_) throw Stopped();
  const unsigned lane = running_ % kWarp;
  const unsigned first = running_ - lane;
  if ((mask >> lane & 1U) == 0) {
    throw Fault(std::string(operation) + " at " + text_of(site) + ": " + where(running_) +
                " is not in its own mask");
  }
  Thread& self = *threads_[running_];
  self.operation = operation;
  self.mask = mask;
  self.value = value;
  self.site = site;
  for (unsigned other = 0; other < kWarp; ++other) {
    if (other == lane || (mask >> other & 1U) == 0) continue;
    const Thread& thread = *threads_[first + other];
    if (thread.state != State::kAtExchange || thread.mask != mask ||
        !same_place(thread.site, site)) {
      wait(State::kAtExchange, site);
      return self.received;
    }
  }
  release_lanes(first, mask);
  return self.received;
}

void Block::release_lanes(unsigned first, std::uint32_t mask) {
  Lanes values{};
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1U) != 0) values[lane] = threads_[first + lane]->value;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1U) == 0) continue;
    Thread& thread = *threads_[first + lane];
    thread.received = values;
    if (first + lane == running_) continue;
    thread.state = State::kReady;
    ready_.push_back(first + lane);
  }
}

void Block::sync_warp(std::uint32_t mask, const Site& site) {
  if (mask != ~std::uint32_t{0}) throw Fault("__syncwarp of a part of a warp at " + text_of(site));
  const std::uint32_t before = warp_epochs_[running_ / kWarp];
  exchange("__syncwarp", mask, 0, site);
  warp_epochs_[running_ / kWarp] = std::max(warp_epochs_[running_ / kWarp], before + 1);
}

std::string Block::where(unsigned thread) const {
  return "thread " + std::to_string(thread) + " of block (" + std::to_string(index_.x) + ", " +
         std::to_string(index_.y) + ")";
}

void Block::diagnose() {
  const auto in_state = [&](State state) {
    const auto found = std::find_if(
        threads_.begin(), threads_.end(), [&](const auto& t) { return t->state == state; });
    return found == threads_.end() ? -1 : static_cast<int>(found - threads_.begin());
  };
  if (const int waiting = in_state(State::kAtExchange); waiting >= 0) {
    const Thread& thread = *threads_[static_cast<unsigned>(waiting)];
    throw Fault(std::string(thread.operation) + " at " + text_of(thread.site) + ": " +
                where(static_cast<unsigned>(waiting)) +
                " waits for a lane that its mask names and that does not come");
  }
  const int waiting = in_state(State::kAtBarrier);
  const int gone = in_state(State::kDone);
  throw Fault("__syncthreads at " + text_of(threads_[static_cast<unsigned>(waiting)]->site) + ": " +
              where(static_cast<unsigned>(gone)) + " has left the kernel");
}

Memory Block::allocate(std::size_t count, std::size_t size) {
  storage_.push_back(std::make_unique<std::byte[]>(count * size));
  shadows_.push_back(std::make_unique<Shadow>(count));
  std::memset(storage_.back().get(), 0xA5, count * size);
  return {storage_.back().get(), count * size, shadows_.back().get()};
}

Memory Block::static_shared(std::size_t count, std::size_t size, const Site& site) {
  Memory& memory = static_[{text_of(site), site.column()}];
  if (memory.data == nullptr) memory = allocate(count, size);
  return memory;
}

Memory Block::dynamic_shared(std::size_t offset, std::size_t count, std::size_t size) {
  const std::size_t end = offset + count * size;
  if (end > shape_.shared_bytes) {
    throw Fault("bytes " + std::to_string(offset) + " to " + std::to_string(end) + " of the " +
                std::to_string(shape_.shared_bytes) + " of dynamic shared memory");
  }
  const auto next = dynamic_.upper_bound(offset);
  if (const auto found = dynamic_.find(offset);
      found != dynamic_.end() && found->second.bytes == count * size) {
    return found->second;
  }
  const bool meets_next = next != dynamic_.end() && next->first < end;
  const bool meets_last =
      next != dynamic_.begin() && std::prev(next)->first + std::prev(next)->second.bytes > offset;
  if (meets_next || meets_last) throw Fault("two arrays overlap in dynamic shared memory");
  return dynamic_[offset] = allocate(count, size);
}

Shadow& Block::global_shadow(const void* data, std::size_t elements) {
  return global_.of(data, elements);
}

void launch(const Shape& shape, const std::function<void()>& kernel) {
  GlobalShadow global;
  Block block(shape, global);
  std::vector<Dim3> order;
  for (unsigned z = 0; z < shape.grid.z; ++z) {
    for (unsigned y = 0; y < shape.grid.y; ++y) {
      for (unsigned x = 0; x < shape.grid.x; ++x) order.push_back({x, y, z});
    }
  }
  std::mt19937 random(shape.seed);
  if (shape.seed != 0) std::shuffle(order.begin(), order.end(), random);
  for (const Dim3 index : order) block.run(index, kernel);
}

}  // namespace mms::emulate
