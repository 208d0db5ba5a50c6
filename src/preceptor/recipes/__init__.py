"""The shipped methods, one module per published system. Each function returns a :class:`preceptor.recipe.Recipe`."""
