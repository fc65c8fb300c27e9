// Faults planted in small kernels: the emulation must report each of them, and nothing else.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "../cuda/device.cuh"
#include "check.h"

namespace {

using namespace mms::cuda;
using mms::emulate::Fault;
using mms::emulate::launch;
using mms::emulate::Shape;

/// What is reported in each of several orders of the threads: "" for nothing.
std::string fault_of(const std::function<void()>& kernel,
                     unsigned threads = 64,
                     std::size_t shared_bytes = 0,
                     unsigned blocks = 1) {
  std::string first;
  for (unsigned seed = 0; seed < 6; ++seed) {
    std::string found;
    try {
      launch(Shape{{blocks, 1, 1}, {threads, 1, 1}, shared_bytes, seed}, kernel);
    } catch (const Fault& fault) {
      found = fault.what();
    }
    if (seed == 0) first = found;
    check(found.empty() == first.empty(),
          "depends on the order: " + first + found,
          __FILE__,
          __LINE__);
  }
  return first;
}

void expect(const std::string& part, const std::string& found, int line) {
  check(found.find(part) != std::string::npos,
        "got '" + found + "' for '" + part + "'",
        __FILE__,
        line);
}
#define EXPECT(part, ...) expect(part, fault_of(__VA_ARGS__), __LINE__)

/// Turn round the threads' numbers through shared memory.
void reverse(std::vector<int>& out, bool with_barrier) {
  MMS_SHARED(int, numbers, 64);
  numbers[thread_id()] = thread_id();
  if (with_barrier) __syncthreads();
  out[static_cast<std::size_t>(thread_id())] = numbers[63 - thread_id()];
}

void test_barriers() {
  std::vector<int> out(64);
  CHECK(fault_of([&] { reverse(out, true); }).empty());
  for (int i = 0; i < 64; ++i) CHECK(out[static_cast<std::size_t>(i)] == 63 - i);
  CHECK(!fault_of([&] { reverse(out, false); }).empty());
  EXPECT("race", [] {
    MMS_SHARED(int, total, 1);
    if (thread_id() == 0) total[0] = 0;
    __syncthreads();
    total[0] = total[0] + 1;
  });
  EXPECT("race", [] {  // all read, then one writes, and no barrier lies between
    MMS_SHARED(int, value, 1);
    if (thread_id() == 0) value[0] = 1;
    __syncthreads();
    const int read = value[0];
    if (thread_id() == 40) value[0] = read + 1;
  });
}

void test_barriers_that_not_all_reach() {
  EXPECT("has left the kernel", [] {
    if (thread_id() != 5) __syncthreads();
  });
  // Not in a macro, where all is on one line: places are told apart by their line.
  const auto at_two_places = [] {
    if (thread_id() < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  };
  EXPECT("different barriers", at_two_places);
  EXPECT("does not come", [] {  // one half waits at a barrier, the other for a warp that is whole
    if (thread_id() < 40) {
      __syncthreads();
    } else {
      __syncwarp();
    }
  });
}

void test_warps() {
  std::vector<int> out(64);
  CHECK(fault_of([&] {
          const int total = warp_sum(lane_id());
          const unsigned odd = __ballot_sync(kAllLanes, lane_id() % 2);
          const int first = __shfl_sync(kAllLanes, thread_id(), 0);
          const int before = __shfl_up_sync(kAllLanes, thread_id(), 1);
          const bool right = total == 496 && odd == 0xAAAAAAAAU && first == warp_id() * 32 &&
                             before == (lane_id() == 0 ? thread_id() : thread_id() - 1) &&
                             __any_sync(kAllLanes, lane_id() == 3) != 0;
          out[static_cast<std::size_t>(thread_id())] = right ? 1 : 0;
        }).empty());
  for (const int right : out) CHECK(right == 1);
  EXPECT("does not come", [] {
    if (lane_id() < 16) __shfl_sync(kAllLanes, 1, 0);
  });
  const auto at_two_places = [] {
    if (lane_id() < 16) {
      __ballot_sync(kAllLanes, 1);
    } else {
      __ballot_sync(kAllLanes, 0);
    }
  };
  EXPECT("does not come", at_two_places);
  EXPECT("its own mask", [] { __any_sync(0xFFFFU, 1); });
  EXPECT("not in the mask", [] {
    if (lane_id() < 16) __shfl_sync(0xFFFFU, 1, 20);
  });
  EXPECT("part of a warp", [] {
    if (lane_id() < 16) __syncwarp(0xFFFFU);
  });
}

void test_warp_barriers_order_one_warp_only() {
  const auto swap = [](bool in_warp) {
    MMS_SHARED(int, numbers, 64);
    numbers[thread_id()] = thread_id();
    __syncwarp();
    const int other = numbers[in_warp ? thread_id() ^ 1 : 63 - thread_id()];
    __syncwarp();
    numbers[thread_id()] = other;
  };
  CHECK(fault_of([&] { swap(true); }).empty());
  CHECK(!fault_of([&] { swap(false); }).empty());
  // A shuffle orders no memory.
  EXPECT("race", [] {
    MMS_SHARED(int, numbers, 64);
    for (int i = 0; i < 2; ++i) numbers[thread_id()] = i;
    __shfl_sync(kAllLanes, 0, 0);
    numbers[thread_id() ^ 1] = 2;
  });
}

void test_bounds() {
  EXPECT("out of bounds", [] {
    MMS_SHARED(float, values, 64);
    values[thread_id() + 1] = 0.0F;
  });
  EXPECT("out of bounds", [] {
    MMS_SHARED(float, values, 64);
    values[thread_id()] = values[-1];
  });
  EXPECT("of dynamic shared memory", [] { dynamic_shared<float>(0, 65)[0] = 1.0F; }, 64, 256);
  EXPECT(
      "overlap",
      [] {
        dynamic_shared<double>(0, 8);
        dynamic_shared<float>(60, 4);
      },
      64,
      256);
  EXPECT("of an array of 64", [] {
    MMS_SHARED(float, values, 64);
    part(values, 60, 5);
  });
  EXPECT("before it is written", [] {
    MMS_SHARED(float, values, 64);
    values[thread_id()] = 1.0F + values[thread_id()];
  });
}

void test_dynamic_shared_memory() {
  std::vector<double> out(64);
  CHECK(fault_of(
            [&] {
              const Checked<float> floats = dynamic_shared<float>(0, 64);
              const Checked<double> doubles = part(dynamic_shared<double>(256, 65), 1, 64);
              floats[thread_id()] = static_cast<float>(thread_id());
              doubles[thread_id()] = 100.0 * thread_id();
              __syncthreads();
              const int other = (thread_id() + 33) % 64;
              out[static_cast<std::size_t>(thread_id())] = floats[other] + doubles[other];
            },
            64,
            256 + 65 * 8)
            .empty());
  CHECK(out[0] == 33 * 101.0 && out[63] == 32 * 101.0);
}

void test_global_memory() {
  std::vector<int> data(64);
  const auto shift = [&](bool with_barrier) {
    const Checked<int> numbers = checked(data.data(), 64);
    numbers[thread_id()] = thread_id();
    if (with_barrier) __syncthreads();
    const int other = numbers[(thread_id() + 40) % 64];
    __syncthreads();
    numbers[thread_id()] = other;
  };
  EXPECT("race", [&] { shift(false); });
  EXPECT("race", [&] { checked(data.data(), 64)[thread_id()] = 1; }, 64, 0, 2);
  CHECK(fault_of(
            [&] {
              const Checked<int> mine = checked(data.data() + 32 * blockIdx.x, 32);
              mine[lane_id()] = mine[lane_id()] + 1;
            },
            32,
            0,
            2)
            .empty());
}

void test_atomics() {
  std::vector<int> total(1);
  CHECK(fault_of([&] { atomic_add(checked(total.data(), 1), 0, 1); }, 96, 0, 2).empty());
  CHECK(total[0] == 96 * 2 * 6);
  EXPECT("race", [] {
    MMS_SHARED(int, count, 1);
    if (thread_id() == 0) count[0] = 0;
    __syncthreads();
    atomic_add(count, 0, 1);
    if (count[0] > 100) __syncwarp();
  });
  EXPECT("race", [] {
    MMS_SHARED(int, last, 1);
    if (thread_id() == 50) {
      last[0] = -1;
    } else {
      atomic_exchange(last, 0, thread_id());
    }
  });
}

}  // namespace

int main() {
  test_barriers();
  test_barriers_that_not_all_reach();
  test_warps();
  test_warp_barriers_order_one_warp_only();
  test_bounds();
  test_dynamic_shared_memory();
  test_global_memory();
  test_atomics();
  EXPECT("a block must be", [] {}, 48);
  return 0;
}
