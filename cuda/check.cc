// SPDX-License-Identifier: Apache-2.0
#include "cuda/check.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <string>

namespace codegen::cuda {
namespace {

// 13000 -> "13.0".
std::string VersionText(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// Without any driver the runtime complains of one that is too old.
std::string DriverAdvice() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return "no NVIDIA driver is installed, or it is not visible here";
  return fmt::format(
      "the NVIDIA driver knows CUDA {}, this library needs CUDA {}: update the driver",
      VersionText(driver), VersionText(CUDART_VERSION));
}

// What a user can do about `error`; empty if nothing, short of another program or GPU.
std::string Advice(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver:
      return DriverAdvice();
    case cudaErrorNoDevice:
      return "there is no GPU, or CUDA_VISIBLE_DEVICES hides it";
    case cudaErrorInvalidDevice:
      return "there is no GPU of that number";
    case cudaErrorDevicesUnavailable:
      return "the GPU is in exclusive use by another process";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this library was not built for this kind of GPU";
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return "the NVIDIA driver is not ready for this version of CUDA";
    default:
      return "";
  }
}

absl::StatusCode CodeOf(cudaError_t error) {
  if (error == cudaErrorMemoryAllocation || error == cudaErrorLaunchOutOfResources)
    return absl::StatusCode::kResourceExhausted;
  return IsSticky(error) ? absl::StatusCode::kUnavailable : absl::StatusCode::kInternal;
}

}  // namespace

bool IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorAssert:
    case cudaErrorContained:
    case cudaErrorContextIsDestroyed:
    case cudaErrorCudartUnloading:
    case cudaErrorECCUncorrectable:
    case cudaErrorExternalDevice:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorMpsClientTerminated:
    case cudaErrorMpsRpcFailure:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorTensorMemoryLeak:
      return true;
    default:
      return false;
  }
}

absl::Status Check(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  if (!IsSticky(error)) static_cast<void>(cudaGetLastError());
  const std::string message =
      fmt::format("{}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error));
  if (const std::string advice = Advice(error); !advice.empty())
    return absl::FailedPreconditionError(message + ": " + advice);
  return {CodeOf(error), message};
}

}  // namespace codegen::cuda
