/* keeps the library from being empty */
typedef int test_support_is_not_empty;
