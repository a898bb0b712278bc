package auth

import "container/list"

// lru is a map that forgets what was not used for longest when it is full. It
// is not for use by several goroutines.
type lru[K comparable, V any] struct {
	size    int
	entries map[K]*list.Element
	order   *list.List // the last used first
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](size int) *lru[K, V] {
	return &lru[K, V]{size: size, entries: map[K]*list.Element{}, order: list.New()}
}

// get returns a value and counts as a use of it.
func (l *lru[K, V]) get(key K) (value V, ok bool) {
	element, ok := l.entries[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(element)
	return element.Value.(*lruEntry[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	l.remove(key)
	if len(l.entries) >= l.size {
		l.remove(l.order.Back().Value.(*lruEntry[K, V]).key)
	}
	l.entries[key] = l.order.PushFront(&lruEntry[K, V]{key, value})
}

func (l *lru[K, V]) remove(key K) {
	if element, ok := l.entries[key]; ok {
		l.order.Remove(element)
		delete(l.entries, key)
	}
}
