# codegen_warnings: the flags of our own targets only; nothing here reaches a consumer.
add_library(codegen_warnings INTERFACE)
target_compile_options(codegen_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wthread-safety>
  $<$<BOOL:${CODEGEN_WERROR}>:-Werror>)
if(CODEGEN_SANITIZE)
  target_compile_options(codegen_warnings INTERFACE -fsanitize=${CODEGEN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(codegen_warnings INTERFACE -fsanitize=${CODEGEN_SANITIZE})
endif()
