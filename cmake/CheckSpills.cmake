# Compiles kernels for devices and fails if one spills registers into memory, the one thing about their speed that can
# be seen without a GPU: cmake -DNVCC=<nvcc> -DROOT=<source tree> -DSOURCE=<file.cu> -DWORK=<scratch folder> -P ...
cmake_minimum_required(VERSION 3.25)

get_filename_component(name ${SOURCE} NAME_WE)
execute_process(
  COMMAND ${NVCC} -std=c++20 --expt-relaxed-constexpr -I. -Isrc -Iinclude -Itests -gencode=arch=compute_80,code=sm_80
          -gencode=arch=compute_90a,code=sm_90a -Xptxas -v -Werror all-warnings -c ${SOURCE} -o ${WORK}/${name}.device.o
  WORKING_DIRECTORY ${ROOT} RESULT_VARIABLE failed ERROR_VARIABLE report)
if(failed)
  message(FATAL_ERROR "${SOURCE} does not compile for devices:\n${report}")
endif()

string(REGEX MATCHALL "[0-9]+ bytes spill" spills "${report}")
list(LENGTH spills count)
if(count EQUAL 0)
  message(FATAL_ERROR "nvcc told nothing of registers:\n${report}")
endif()
list(FILTER spills EXCLUDE REGEX "^0 ")
if(spills)
  message(FATAL_ERROR "kernels of ${SOURCE} spill:\n${report}")
endif()
message(STATUS "${SOURCE}: kernels compiled for two devices, none spills")
