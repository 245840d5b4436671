# codegen_warnings: the flags of our own targets only; nothing here reaches a consumer.
add_library(codegen_warnings INTERFACE)
target_compile_options(codegen_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  -Wno-missing-field-initializers  # gcc means designated initialisers too; leaving members out is their point
  $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Wthread-safety>
  $<$<BOOL:${CODEGEN_WERROR}>:-Werror>)

# A sanitizer must see every target, so it is a flag of the directory; and with it the standard library checks bounds.
if(CODEGEN_SANITIZE)
  add_compile_options(-fsanitize=${CODEGEN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=${CODEGEN_SANITIZE})
endif()
