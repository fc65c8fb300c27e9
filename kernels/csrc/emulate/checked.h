// Arrays in shared and global memory that check bounds and races at each access.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "block.h"

namespace mms::emulate {

/// Array of a kernel: a plain pointer on a device, this class on the host.
template <typename T>
class Checked {
 public:
  using Value = std::remove_const_t<T>;

  /// Reference to an element, for one read or write.
  class Element {
   public:
    Element(const Checked& array, std::int64_t index) : array_(array), index_(index) {}
    Element(const Element&) = default;
    operator Value() const { return array_.load(index_); }
    const Element& operator=(const Value& value) const {
      array_.store(index_, value);
      return *this;
    }
    const Element& operator=(const Element& other) const { return *this = Value(other); }

   private:
    const Checked& array_;
    std::int64_t index_;
  };

  Checked() = default;
  /// Shared memory.
  explicit Checked(const Memory& memory)
      : data_(reinterpret_cast<T*>(memory.data)),
        size_(static_cast<std::int64_t>(memory.bytes / sizeof(T))),
        shadow_(memory.shadow),
        shared_(true) {}
  /// Global memory.
  Checked(T* data, std::int64_t size)
      : data_(data),
        size_(size),
        shadow_(&Block::current().global_shadow(data, static_cast<std::size_t>(size))) {}

  /// Subarray of `size` elements from `offset` on.
  Checked part(std::int64_t offset, std::int64_t size) const {
    if (offset < 0 || size < 0 || offset + size > size_) {
      throw Fault("elements " + std::to_string(offset) + " to " + std::to_string(offset + size) +
                  " of an array of " + std::to_string(size_));
    }
    Checked result = *this;
    result.data_ += offset;
    result.base_ += offset;
    result.size_ = size;
    return result;
  }

  Element operator[](std::int64_t index) const { return Element(*this, index); }

  /// Atomically replace an element by `change` of it; returns the old value.
  template <typename Change>
  Value exchange(std::int64_t index, const Change& change) const {
    note(index, Access::kAtomic);
    const Value before = data_[index];
    data_[index] = change(before);
    return before;
  }

 private:
  Value load(std::int64_t index) const {
    note(index, Access::kRead);
    if (shared_ && !shadow_->written(static_cast<std::size_t>(base_ + index))) {
      throw Fault(name(index) + " is read before it is written");
    }
    return data_[index];
  }

  void store(std::int64_t index, const Value& value) const {
    note(index, Access::kWrite);
    data_[index] = value;
  }

  void note(std::int64_t index, Access access) const {
    if (index < 0 || index >= size_) {
      throw Fault(name(index) + " is out of bounds, there are " + std::to_string(size_));
    }
    const Moment now = Block::current().moment();
    if (const auto other = shadow_->touch(static_cast<std::size_t>(base_ + index), access, now)) {
      // Only the last reader is recorded, and it may be this thread.
      const std::string who = *other == now.thread ? "another" : std::to_string(*other);
      throw Fault(name(index) + ": threads " + who + " and " + std::to_string(now.thread) +
                  " race, no barrier lies between them");
    }
  }

  std::string name(std::int64_t index) const {
    return (shared_ ? "element " : "global element ") + std::to_string(index) +
           (shared_ ? " of a shared array" : "");
  }

  T* data_ = nullptr;
  std::int64_t size_ = 0;
  std::int64_t base_ = 0;  // of data_ in the shadow
  Shadow* shadow_ = nullptr;
  bool shared_ = false;
};

}  // namespace mms::emulate
