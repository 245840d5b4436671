# Who may include whom: cmake -DROOT=<source tree> -P cmake/CheckFloors.cmake
#
#  7  examples  bench  tests                        examples see the public headers only; bench and tests see all
#  6  include/codegen                               what a host sees: std and Abseil's status, span and time beside it
#  5  src/api  src/serve
#  4  src/runtime, above src/kv  src/sample  src/metrics       no device code, no SIMD
#  3  src/model
#  2  src/cpu  cuda, above src/comm  src/quant, above src/backend
#  1  src/checkpoint  src/tokenizer, above src/tensor
#  0  src/base
#
# An include goes down or stays in its folder; a rank below is floor * 10 + storey, for the floors with an order of
# their own (a checkpoint says the dtypes of its tensors, so tensor lies below it). Exceptions to the rank, all narrower:
# cpu and cuda see of comm and quant only communicator.h and format.h; cuda/ is seen by itself and by
# src/api/executors_cuda.cc; the value types of include/codegen are seen from everywhere, its classes from src/api.
# Every edge that breaks a rule is printed; one is enough to fail.
cmake_minimum_required(VERSION 3.25)

set(rank_base 0)
set(rank_tensor 10)
set(rank_checkpoint 11)
set(rank_tokenizer 11)
set(rank_backend 20)
set(rank_comm 21)
set(rank_quant 21)
set(rank_cpu 22)
set(rank_cuda 22)
set(rank_model 30)
set(rank_kv 40)
set(rank_sample 40)
set(rank_metrics 40)
set(rank_runtime 41)
set(rank_api 50)
set(rank_serve 50)
set(value_types "codegen/(options|request|metrics|export)\\.h")
set(device_free "runtime|kv|sample|metrics")
set(host_headers "[a-z_]+|absl/(status|time)/[a-z_]+\\.h|absl/types/span\\.h")

# complaint(file folder header out): the rule that `file` of `folder` breaks by including "header", or nothing.
function(complaint file folder header out)
  set(${out} "" PARENT_SCOPE)
  cmake_path(GET file PARENT_PATH directory)
  if(header MATCHES "^([a-z_]+)/")
    set(target ${CMAKE_MATCH_1})
  elseif(EXISTS ${directory}/${header})
    set(target ${folder})
  else()
    set(${out} "is no file of this house: write <> for others" PARENT_SCOPE)
    return()
  endif()

  if(target STREQUAL folder OR (target STREQUAL "codegen" AND header MATCHES "^${value_types}$"))
    return()
  elseif(folder STREQUAL "codegen")
    set(${out} "a public header includes public headers only" PARENT_SCOPE)
  elseif(target STREQUAL "codegen")
    if(NOT folder MATCHES "^(api|serve|examples)$")
      set(${out} "below src/api only value types of the public headers are visible" PARENT_SCOPE)
    endif()
  elseif(folder STREQUAL "examples")
    if(NOT EXISTS ${ROOT}/examples/${header})
      set(${out} "examples see the public headers only" PARENT_SCOPE)
    endif()
  elseif(NOT DEFINED rank_${target})
    set(${out} "is no floor of this house: write <> for others" PARENT_SCOPE)
  elseif(target STREQUAL "cuda")
    if(NOT file MATCHES "/src/api/executors_cuda\\.cc$")
      set(${out} "cuda/ is visible to itself and to src/api/executors_cuda.cc" PARENT_SCOPE)
    endif()
  elseif(rank_${target} GREATER_EQUAL rank_${folder})
    set(${out} "goes sideways or up the floors" PARENT_SCOPE)
  elseif(folder MATCHES "^(cpu|cuda)$" AND target MATCHES "^(comm|quant)$" AND
         NOT header MATCHES "^(comm/communicator|quant/format)\\.h$")
    set(${out} "cpu and cuda see only comm/communicator.h and quant/format.h there" PARENT_SCOPE)
  endif()
endfunction()

# system_complaint(folder header out): the same for <header>.
function(system_complaint folder header out)
  set(${out} "" PARENT_SCOPE)
  if(folder STREQUAL "codegen" AND NOT header MATCHES "^(${host_headers})$")
    set(${out} "a public header shows std and Abseil's status, span and time only" PARENT_SCOPE)
  elseif(folder MATCHES "^(${device_free})$" AND header MATCHES "^(hwy/|cuda|nccl|immintrin)")
    set(${out} "floor 4 is free of devices and SIMD" PARENT_SCOPE)
  endif()
endfunction()

set(edges 0)
set(broken "")
file(GLOB_RECURSE files LIST_DIRECTORIES false RELATIVE ${ROOT} ${ROOT}/src/*.h ${ROOT}/src/*.cc ${ROOT}/src/*.inc
     ${ROOT}/cuda/*.h ${ROOT}/cuda/*.cc ${ROOT}/cuda/*.cu ${ROOT}/cuda/*.cuh
     ${ROOT}/include/*.h ${ROOT}/examples/*.h ${ROOT}/examples/*.cc)
foreach(file IN LISTS files)
  string(REGEX REPLACE "^(src/|include/)?([a-z_]+)/.*" "\\2" folder ${file})
  file(STRINGS ${ROOT}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*[\"<]")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "([\"<])([^\">]+)" unused "${line}")
    set(header ${CMAKE_MATCH_2})
    if(CMAKE_MATCH_1 STREQUAL "<")
      system_complaint(${folder} ${header} reason)
    else()
      complaint(${ROOT}/${file} ${folder} ${header} reason)
    endif()
    if(reason)
      list(APPEND broken "${file} -> ${header}: ${reason}")
    endif()
    math(EXPR edges "${edges} + 1")
  endforeach()

  if(folder MATCHES "^(model|runtime)$")
    file(STRINGS ${ROOT}/${file} mentions REGEX "[Cc][Uu][Dd][Aa]")
    if(mentions)
      list(APPEND broken "${file}: speaks of CUDA; src/model and src/runtime know no device")
    endif()
  endif()
endforeach()

if(broken)
  list(JOIN broken "\n  " broken)
  message(FATAL_ERROR "the floors do not hold:\n  ${broken}")
endif()
if(edges EQUAL 0)
  message(FATAL_ERROR "no include found below ROOT=${ROOT}")
endif()
message(STATUS "${edges} includes, all within the floors")
