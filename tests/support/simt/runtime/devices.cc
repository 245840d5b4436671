// SPDX-License-Identifier: Apache-2.0
//
// What the pretend devices say of themselves: they are H200 by everything that code chooses by, but
// as small as the test wants them.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "support/simt/runtime/current.h"
#include "support/simt/runtime/machine.h"
#include "support/simt/runtime/streams.h"

namespace codegen::simt {
namespace {

constexpr std::size_t kSharedBytes = std::size_t{48} << 10;        // of a block, without asking
constexpr std::size_t kOptInSharedBytes = std::size_t{227} << 10;  // after asking
constexpr std::size_t kReservedSharedBytes = 1024;

// What a thread chose before the last Reset counts no more.
struct ChosenDevice {
  int device = 0;
  int reset = 0;
};

std::atomic<int> resets = 0;
thread_local ChosenDevice chosen_device;

bool HasDevice(const Machine& machine, int device) {
  return device >= 0 && device < machine.settings.devices;
}

cudaDeviceProp Describe(const Machine& machine, int device) {
  cudaDeviceProp properties = {};
  std::strncpy(properties.name, "Pretend NVIDIA H200", sizeof properties.name - 1);
  properties.uuid.bytes[0] = static_cast<char>(device);
  properties.pciBusID = device + 1;
  properties.totalGlobalMem = machine.settings.memory_bytes;
  properties.major = machine.settings.capability / 10;
  properties.minor = machine.settings.capability % 10;
  properties.multiProcessorCount = 132;
  properties.warpSize = 32;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsPerMultiProcessor = 2048;
  properties.maxBlocksPerMultiProcessor = 32;
  std::copy_n(std::begin({1024, 1024, 64}), 3, properties.maxThreadsDim);
  std::copy_n(std::begin({2147483647, 65535, 65535}), 3, properties.maxGridSize);
  properties.regsPerBlock = 65536;
  properties.regsPerMultiprocessor = 65536;
  properties.sharedMemPerBlock = kSharedBytes;
  properties.sharedMemPerBlockOptin = kOptInSharedBytes;
  properties.reservedSharedMemPerBlock = kReservedSharedBytes;
  properties.sharedMemPerMultiprocessor = kOptInSharedBytes + kReservedSharedBytes;
  properties.l2CacheSize = 50 << 20;
  properties.memoryBusWidth = 6144;
  properties.unifiedAddressing = 1;
  properties.canMapHostMemory = 1;
  properties.concurrentKernels = 1;
  properties.asyncEngineCount = 3;
  properties.ECCEnabled = 1;
  return properties;
}

// The attributes that somebody has needed so far; a device has a hundred more.
std::map<cudaDeviceAttr, int> Attributes(const cudaDeviceProp& properties) {
  return {
      {cudaDevAttrComputeCapabilityMajor, properties.major},
      {cudaDevAttrComputeCapabilityMinor, properties.minor},
      {cudaDevAttrMultiProcessorCount, properties.multiProcessorCount},
      {cudaDevAttrWarpSize, properties.warpSize},
      {cudaDevAttrMaxThreadsPerBlock, properties.maxThreadsPerBlock},
      {cudaDevAttrMaxThreadsPerMultiProcessor, properties.maxThreadsPerMultiProcessor},
      {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(properties.sharedMemPerBlock)},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin,
       static_cast<int>(properties.sharedMemPerBlockOptin)},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor,
       static_cast<int>(properties.sharedMemPerMultiprocessor)},
      {cudaDevAttrL2CacheSize, properties.l2CacheSize},
      {cudaDevAttrGlobalMemoryBusWidth, properties.memoryBusWidth},
      {cudaDevAttrUnifiedAddressing, properties.unifiedAddressing},
      {cudaDevAttrAsyncEngineCount, properties.asyncEngineCount},
  };
}

}  // namespace

int CurrentDevice() { return chosen_device.reset == resets ? chosen_device.device : 0; }

void ForgetCurrentDevices() { ++resets; }

std::size_t DynamicSharedLimit(const void* function) {
  const MachineLock machine;
  const auto found = machine->dynamic_shared.find(function);
  return found == machine->dynamic_shared.end() ? kSharedBytes : found->second;
}

}  // namespace codegen::simt

using codegen::simt::Api;
using codegen::simt::Call;
using codegen::simt::Capturing;
using codegen::simt::MachineLock;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    *count = machine->settings.devices;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& /*machine*/) {
    *device = codegen::simt::CurrentDevice();
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    if (!codegen::simt::HasDevice(*machine, device)) return cudaErrorInvalidDevice;
    codegen::simt::chosen_device = {.device = device, .reset = codegen::simt::resets};
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    if (!codegen::simt::HasDevice(*machine, device)) return cudaErrorInvalidDevice;
    *properties = codegen::simt::Describe(*machine, device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    if (!codegen::simt::HasDevice(*machine, device)) return cudaErrorInvalidDevice;
    const auto attributes = codegen::simt::Attributes(codegen::simt::Describe(*machine, device));
    const auto found = attributes.find(attribute);
    if (found == attributes.end()) return cudaErrorInvalidValue;
    *value = found->second;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return Api(Call::kOther, Capturing::kAllows, [&](MachineLock& machine) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || static_cast<std::size_t>(value) > codegen::simt::kOptInSharedBytes)
      return cudaErrorInvalidValue;
    machine->dynamic_shared[function] = static_cast<std::size_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  using codegen::simt::Driver;
  const Driver driver = MachineLock()->settings.driver;
  *version = driver == Driver::kPresent ? CUDART_VERSION : driver == Driver::kTooOld ? 12040 : 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
