// The process that holds a pod's namespaces open; nothing but the standard library.
module flotilla.invalid/lab/pause

go 1.26.0
