// cuMemcpy* and cuMemset*.
#include "copies.h"

using namespace cudasim;

namespace {

constexpr Return kWait = Return::kWhenDone;
constexpr Return kAsync = Return::kAtOnce;

Result copy_call(const char* name, Handle stream, Side to, Side from, std::size_t bytes, Return r) {
  return call(name, [&](Simulator&) { copy(name, stream, to, from, {bytes, 1}, r); });
}

Side guess(const void* address, std::size_t pitch = 0) {
  const auto value = reinterpret_cast<std::uint64_t>(address);
  return simulator().memory.covers(value) ? Side::device(value, pitch) : Side::host(address, pitch);
}

Side side_of(MemoryType type, const void* host, DevicePtr device, std::size_t pitch) {
  if (type == kHostMemory) return Side::host(host, pitch);
  if (type == kDeviceMemory) return Side::device(device, pitch);
  if (type == kUnifiedMemory) return guess(reinterpret_cast<const void*>(device), pitch);
  throw Error(code::kNotSupported, "arrays are not simulated");
}

Result copy_2d(const char* name, const Copy2D* c, Handle stream, Return when) {
  return call(name, [&](Simulator&) {
    Side to = side_of(c->dst_type, c->dst_host, c->dst_device, c->dst_pitch);
    Side from = side_of(c->src_type, c->src_host, c->src_device, c->src_pitch);
    to.address += c->dst_y * c->dst_pitch + c->dst_x_bytes;
    from.address += c->src_y * c->src_pitch + c->src_x_bytes;
    copy(name, stream, to, from, {c->width_bytes, c->height}, when);
  });
}

Result fill_call(const char* name, Handle stream, DevicePtr to, Fill value, std::size_t count) {
  return call(name, [&](Simulator&) {
    fill(name, stream, Side::device(to), value, {count * value.value_bytes, 1});
  });
}

Result fill_2d(
    const char* name, Handle stream, Side to, Fill value, std::size_t width, std::size_t height) {
  return call(name, [&](Simulator&) {
    fill(name, stream, to, value, {width * value.value_bytes, height});
  });
}

}  // namespace

CUDASIM_API Result cuMemcpy(DevicePtr to, DevicePtr from, std::size_t bytes) {
  return copy_call("cuMemcpy",
                   kNullStream,
                   guess(reinterpret_cast<void*>(to)),
                   guess(reinterpret_cast<void*>(from)),
                   bytes,
                   kWait);
}
CUDASIM_API Result cuMemcpyAsync(DevicePtr to, DevicePtr from, std::size_t bytes, Handle stream) {
  return copy_call("cuMemcpyAsync",
                   stream,
                   guess(reinterpret_cast<void*>(to)),
                   guess(reinterpret_cast<void*>(from)),
                   bytes,
                   kAsync);
}
CUDASIM_API Result cuMemcpyHtoD_v2(DevicePtr to, const void* from, std::size_t bytes) {
  return copy_call("cuMemcpyHtoD", kNullStream, Side::device(to), Side::host(from), bytes, kWait);
}
CUDASIM_API Result cuMemcpyHtoDAsync_v2(DevicePtr to,
                                        const void* from,
                                        std::size_t bytes,
                                        Handle stream) {
  return copy_call("cuMemcpyHtoDAsync", stream, Side::device(to), Side::host(from), bytes, kAsync);
}
CUDASIM_API Result cuMemcpyDtoH_v2(void* to, DevicePtr from, std::size_t bytes) {
  return copy_call("cuMemcpyDtoH", kNullStream, Side::host(to), Side::device(from), bytes, kWait);
}
CUDASIM_API Result cuMemcpyDtoHAsync_v2(void* to,
                                        DevicePtr from,
                                        std::size_t bytes,
                                        Handle stream) {
  return copy_call("cuMemcpyDtoHAsync", stream, Side::host(to), Side::device(from), bytes, kAsync);
}
CUDASIM_API Result cuMemcpyDtoD_v2(DevicePtr to, DevicePtr from, std::size_t bytes) {
  return copy_call("cuMemcpyDtoD", kNullStream, Side::device(to), Side::device(from), bytes, kWait);
}
CUDASIM_API Result cuMemcpyDtoDAsync_v2(DevicePtr to,
                                        DevicePtr from,
                                        std::size_t bytes,
                                        Handle stream) {
  return copy_call(
      "cuMemcpyDtoDAsync", stream, Side::device(to), Side::device(from), bytes, kAsync);
}
CUDASIM_API Result cuMemcpy2D_v2(const Copy2D* copy) {
  return copy_2d("cuMemcpy2D", copy, kNullStream, kWait);
}
CUDASIM_API Result cuMemcpy2DUnaligned_v2(const Copy2D* copy) {
  return copy_2d("cuMemcpy2DUnaligned", copy, kNullStream, kWait);
}
CUDASIM_API Result cuMemcpy2DAsync_v2(const Copy2D* copy, Handle stream) {
  return copy_2d("cuMemcpy2DAsync", copy, stream, kAsync);
}

CUDASIM_API Result cuMemsetD8_v2(DevicePtr to, unsigned char value, std::size_t count) {
  return fill_call("cuMemsetD8", kNullStream, to, {value, 1}, count);
}
CUDASIM_API Result cuMemsetD16_v2(DevicePtr to, unsigned short value, std::size_t count) {
  return fill_call("cuMemsetD16", kNullStream, to, {value, 2}, count);
}
CUDASIM_API Result cuMemsetD32_v2(DevicePtr to, unsigned value, std::size_t count) {
  return fill_call("cuMemsetD32", kNullStream, to, {value, 4}, count);
}
CUDASIM_API Result cuMemsetD8Async(DevicePtr to,
                                   unsigned char value,
                                   std::size_t count,
                                   Handle stream) {
  return fill_call("cuMemsetD8Async", stream, to, {value, 1}, count);
}
CUDASIM_API Result cuMemsetD16Async(DevicePtr to,
                                    unsigned short value,
                                    std::size_t count,
                                    Handle stream) {
  return fill_call("cuMemsetD16Async", stream, to, {value, 2}, count);
}
CUDASIM_API Result cuMemsetD32Async(DevicePtr to,
                                    unsigned value,
                                    std::size_t count,
                                    Handle stream) {
  return fill_call("cuMemsetD32Async", stream, to, {value, 4}, count);
}
CUDASIM_API Result cuMemsetD2D8_v2(
    DevicePtr to, std::size_t pitch, unsigned char value, std::size_t width, std::size_t height) {
  return fill_2d("cuMemsetD2D8", kNullStream, Side::device(to, pitch), {value, 1}, width, height);
}
CUDASIM_API Result cuMemsetD2D32_v2(
    DevicePtr to, std::size_t pitch, unsigned value, std::size_t width, std::size_t height) {
  return fill_2d("cuMemsetD2D32", kNullStream, Side::device(to, pitch), {value, 4}, width, height);
}
