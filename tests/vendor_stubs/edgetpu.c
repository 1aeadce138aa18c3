/* A stand-in for libedgetpu: a real external TFLite delegate, loaded in the same way.
 *
 * It takes over the last node of the graph and computes it with the original kernel, so results are right. The file
 * that EDGETPU_DOUBLE names, read at every call, controls it: "absent" (no stick is found), "stuck" (opening never
 * ends), "vanish" (a call fails), "hang" (a call never ends); anything else, or no file: the stick works.
 *
 * It declares only the used parts of TensorFlow Lite's C interface (tensorflow/lite/core/c/common.h), in its order.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { OK = 0, FAILED = 1 } Status;
typedef struct { int size; int data[]; } IntArray;
struct Context;
struct Delegate;

typedef struct Node {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  struct Delegate *delegate;
  _Bool might_have_side_effect;
} Node;

/* Passed by value: a runtime with fewer fields reads only those. */
typedef struct Registration {
  void *(*init)(struct Context *, const char *, size_t);
  void (*free)(struct Context *, void *);
  Status (*prepare)(struct Context *, Node *);
  Status (*invoke)(struct Context *, Node *);
  const char *(*profiling_string)(const struct Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
} Registration;

typedef struct Context {
  size_t tensors_size;
  Status (*GetExecutionPlan)(struct Context *, IntArray **);
  void *tensors;
  void *impl;
  void *ResizeTensor;
  void (*ReportError)(struct Context *, const char *, ...);
  void *AddTensors;
  Status (*GetNodeAndRegistration)(struct Context *, int, Node **, Registration **);
  Status (*ReplaceNodeSubsetsWithDelegateKernels)(struct Context *, Registration, const IntArray *, struct Delegate *);
} Context;

typedef struct Delegate {
  void *data;
  Status (*Prepare)(Context *, struct Delegate *);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
} Delegate;

/* The original node; kept by value, since the runtime moves its nodes when nodes are added. */
typedef struct { Node node; Registration kernel; } Taken;

static _Bool mood_is(const char *word) {
  char found[16] = "";
  const char *path = getenv("EDGETPU_DOUBLE");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (file) {
    if (!fgets(found, sizeof found, file)) found[0] = 0;
    fclose(file);
  }
  return strncmp(found, word, strlen(word)) == 0;
}

static void *take(Context *context, const char *params, size_t length) {
  (void)context, (void)length;
  return (*(Delegate *const *)params)->data; /* the first field of the parameters is the delegate */
}

static Status prepare(Context *context, Node *node) {
  Taken *taken = node->user_data;
  return taken->kernel.prepare ? taken->kernel.prepare(context, &taken->node) : OK;
}

static Status invoke(Context *context, Node *node) {
  Taken *taken = node->user_data;
  while (mood_is("hang")) usleep(20000);
  if (mood_is("vanish")) {
    context->ReportError(context, "the device went away");
    return FAILED;
  }
  return taken->kernel.invoke(context, &taken->node);
}

static Status take_last_node(Context *context, Delegate *delegate) {
  IntArray *plan;
  Node *node;
  Registration *kernel;
  if (context->GetExecutionPlan(context, &plan) != OK || plan->size == 0) return FAILED;
  int last = plan->data[plan->size - 1];
  if (context->GetNodeAndRegistration(context, last, &node, &kernel) != OK) return FAILED;
  Taken *taken = delegate->data;
  taken->node = *node;
  taken->kernel = *kernel;
  IntArray *nodes = malloc(sizeof(IntArray) + sizeof(int));
  nodes->size = 1;
  nodes->data[0] = last;
  Registration ours = {.init = take, .prepare = prepare, .invoke = invoke, .custom_name = "edgetpu-double", .version = 1};
  Status done = context->ReplaceNodeSubsetsWithDelegateKernels(context, ours, nodes, delegate);
  free(nodes);
  return done;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "device") != 0 || strncmp(values[i], "usb", 3) != 0) {
      if (report) report("unknown option");
      return NULL;
    }
  }
  while (mood_is("stuck")) usleep(20000);
  if (mood_is("absent")) return NULL;
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->data = calloc(1, sizeof(Taken));
  delegate->Prepare = take_last_node;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
  if (delegate) free(delegate->data);
  free(delegate);
}
