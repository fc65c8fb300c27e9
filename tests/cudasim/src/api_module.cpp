// cuModule*, cuFunc* and cuLaunchKernel, for the emulated kernels of the same names.
#include <algorithm>
#include <cstring>

#include "../../../kernels/csrc/emulate/library.h"
#include "simulator.h"
#include "traps.h"

using namespace cudasim;
namespace emulate = mms::emulate;

namespace {

constexpr unsigned kFatbinMagic = 0xBA55ED50;
constexpr std::uint16_t kMachineCode = 2;
constexpr unsigned kMostThreads = 1024;
constexpr std::size_t kUnaskedShared = 48U << 10U;

template <typename T>
T read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// Whether a fatbin has machine code for the device: same major, no later minor.
bool has_code(const char* image) {
  const char* at = image + read<std::uint16_t>(image + 6);
  const char* end = at + read<std::uint64_t>(image + 8);
  while (at + 32 <= end) {
    const auto kind = read<std::uint16_t>(at);
    const auto made_for = static_cast<int>(read<std::uint32_t>(at + 28));
    if (kind == kMachineCode && made_for / 10 == kCapability / 10 && made_for <= kCapability) {
      return true;
    }
    const std::uint64_t size = read<std::uint32_t>(at + 4) + read<std::uint64_t>(at + 8);
    if (size == 0) return false;
    at += size;
  }
  return false;
}

Handle load(Simulator& simulated, const char* image) {
  simulated.forbid_in_capture();
  if (image == nullptr || read<std::uint32_t>(image) != kFatbinMagic) {
    throw Error(code::kInvalidImage);
  }
  if (!has_code(image)) throw Error(code::kNoBinaryForGpu);
  auto module = std::make_shared<Module>();
  module->context = simulated.current();
  return simulated.modules.add(module);
}

/// Address of each parameter in a packed buffer, at its own alignment.
std::vector<void*> unpack(const emulate::Kernel& kernel, void** extra) {
  char* buffer = nullptr;
  std::size_t given = 0;
  for (; *extra != kLaunchParamEnd; extra += 2) {
    if (extra[0] == kLaunchParamPointer) buffer = static_cast<char*>(extra[1]);
    if (extra[0] == kLaunchParamSize) given = *static_cast<std::size_t*>(extra[1]);
  }
  std::vector<void*> pointers;
  std::size_t offset = 0;
  for (const auto& parameter : kernel.parameters) {
    offset = (offset + parameter.alignment - 1) / parameter.alignment * parameter.alignment;
    pointers.push_back(buffer + offset);
    offset += parameter.bytes;
  }
  if (offset != given) {
    throw Error(code::kInvalidValue,
                kernel.name + " takes " + std::to_string(offset) + " bytes of parameters, got " +
                    std::to_string(given));
  }
  return pointers;
}

void check(const Function& function, const emulate::Shape& shape) {
  const auto& [grid, block, shared, seed] = shape;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0) {
    throw Error(code::kInvalidValue, function.name + ": a grid or a block of 0");
  }
  if (grid.y > 65535 || grid.z > 65535) {
    throw Error(code::kInvalidValue, function.name + ": a grid of more than 65535 in y or z");
  }
  if (block.x * block.y * block.z > kMostThreads) {
    throw Error(code::kInvalidValue, function.name + ": a block of more than 1024 threads");
  }
  if (shared > function.dynamic_shared_limit) {
    throw Error(code::kInvalidValue,
                function.name + ": " + std::to_string(shared) +
                    " bytes of dynamic shared memory, allowed are " +
                    std::to_string(function.dynamic_shared_limit));
  }
}

/// Device pointers among the parameters: the first byte of each is taken as read.
std::vector<Access> pointers_in(const emulate::Kernel& kernel, void** parameters) {
  std::vector<Access> found;
  for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
    const char* bytes = static_cast<const char*>(parameters[i]);
    for (std::size_t at = 0; at + sizeof(DevicePtr) <= kernel.parameters[i].bytes;
         at += sizeof(DevicePtr)) {
      const auto word = read<DevicePtr>(bytes + at);
      if (simulator().memory.covers(word)) found.push_back({word, 1, false});
    }
  }
  return found;
}

/// Run a kernel with the device's memory open to it.
void run_kernel(const emulate::Shape& shape, const std::function<void()>& body) {
  const auto set_open = [](bool open) {
    const Entered entered;
    DeviceMemory& memory = simulator().memory;
    open ? memory.unlock() : memory.lock();
  };
  set_open(true);
  try {
    run_trapped([&] { emulate::launch(shape, body); });
  } catch (...) {
    set_open(false);
    throw;
  }
  set_open(false);
}

}  // namespace

CUDASIM_API Result cuModuleLoadData(Handle* module, const void* image) {
  return call("cuModuleLoadData", [&](Simulator& simulated) {
    *module = load(simulated, static_cast<const char*>(image));
  });
}
CUDASIM_API Result cuModuleLoadDataEx(Handle* module, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(module, image);
}
CUDASIM_API Result cuModuleUnload(Handle handle) {
  return call("cuModuleUnload", [&](Simulator& simulated) {
    std::vector<Handle> gone;
    for (const auto& [function, object] : simulated.functions.live()) {
      if (object->module == handle) gone.push_back(function);
    }
    simulated.modules.remove(handle);
    for (const Handle function : gone) simulated.functions.remove(function);
  });
}
CUDASIM_API Result cuModuleGetFunction(Handle* out, Handle module, const char* name) {
  return call("cuModuleGetFunction", [&](Simulator& simulated) {
    const auto owner = simulated.modules.at(module);
    require_current(*owner, "module");
    try {
      emulate::kernel_named(name);
    } catch (const std::invalid_argument&) {
      throw Error(code::kNotFound);  // no fault: it is a query
    }
    auto function = std::make_shared<Function>();
    function->context = owner->context;
    function->module = module;
    function->name = name;
    *out = simulated.functions.add(function);
  });
}

/// Only the limit of dynamic shared memory (8) has an effect.
CUDASIM_API Result cuFuncSetAttribute(Handle handle, int key, int value) {
  return call("cuFuncSetAttribute", [&](Simulator& simulated) {
    const auto function = simulated.functions.at(handle);
    if (key != 8) return;
    if (value < 0 || static_cast<std::size_t>(value) > kSharedOptIn) {
      throw Error(code::kInvalidValue,
                  function->name + ": " + std::to_string(value) +
                      " bytes of dynamic shared memory, the device has " +
                      std::to_string(kSharedOptIn));
    }
    function->dynamic_shared_limit = std::max(kUnaskedShared, static_cast<std::size_t>(value));
  });
}
/// No effect: pycuda sets the block before every launch and passes it to the launch as well.
CUDASIM_API Result cuFuncSetBlockShape(Handle handle, int, int, int) {
  return call("cuFuncSetBlockShape", [&](Simulator& simulated) { simulated.functions.at(handle); });
}

CUDASIM_API Result cuLaunchKernel(Handle handle,
                                  unsigned grid_x,
                                  unsigned grid_y,
                                  unsigned grid_z,
                                  unsigned block_x,
                                  unsigned block_y,
                                  unsigned block_z,
                                  unsigned shared_bytes,
                                  Handle stream,
                                  void** parameters,
                                  void** extra) {
  return call("cuLaunchKernel", [&](Simulator& simulated) {
    const auto function = simulated.functions.at(handle);
    require_current(*function, "function");
    emulate::Shape shape{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, 0};
    check(*function, shape);
    const emulate::Kernel& kernel = emulate::kernel_named(function->name);
    if ((parameters == nullptr) == (extra == nullptr)) {
      throw Error(code::kInvalidValue, function->name + ": parameters in one of two forms");
    }
    std::vector<void*> pointers =
        parameters == nullptr
            ? unpack(kernel, extra)
            : std::vector<void*>(parameters, parameters + kernel.parameters.size());
    Queue& queue = simulated.queue;
    if (queue.seeded()) shape.seed = static_cast<unsigned>(queue.random()() | 1U);
    const auto run = [=, body = kernel.bind(pointers.data())] { run_kernel(shape, body); };
    const auto accesses = pointers_in(kernel, pointers.data());
    simulated.enqueue(*simulated.stream(stream), {function->name, run, false, accesses});
  });
}
