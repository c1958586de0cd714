// The limit: a Worker that does nothing but pass requests through to the same place.

export default {
  fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    return env.KUBE_API.fetch(new Request(`http://localhost${pathname}${search}`, request));
  },
};
