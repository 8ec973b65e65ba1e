# %% [markdown]
# # A chapter that breaks
#
# ## What breaks
#
# The next cell is fine:

# %%
print("so far, so good")

# %% [markdown]
# The function that this cell defines raises when the last cell calls it:


# %%
def broken(value: int) -> None:
    # One line above, in the file, is the definition.
    raise ValueError(f"the value {value}\nis wrong")


# %% [markdown]
# So it does:

# %%
broken(3)
